"""What answers each path: a request is read by its dialect, admitted, answered and recorded."""
