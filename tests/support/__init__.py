"""What tests of more than one folder share; helpers of one folder lie in that folder."""
