"""What the columns of a log and of its item table are called by those who save them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Lower case without marks; the first that a table has is taken.
ROLES = {
    "user": (
        "user userid useridx uid customer customerid customernumber client clientid member memberid visitor visitorid "
        "reviewer reviewerid account accountid person buyer guest who author player subscriber session sessionid "
        "kunde kundennr kundennummer nutzer benutzer cliente usuario utilisateur"
    ),
    "item": (
        "item itemid iid product productid asin parentasin sku movie movieid article articleid track trackid song "
        "songid artist artistid book bookid isbn business businessid place placeid location venue poi video game "
        "what recipe stockcode productcode itemcode news newsid anime animeid hotel hotelid app appid course courseid "
        "artikel artikelnr artikelnummer produkt produit producto articulo"
    ),
    "time": (
        "timestamp time unixreviewtime when date datetime ts createdat created eventtime ratedat day at boughtat "
        "invoicedate orderdate orderedat ordertime purchasedate purchasedat purchasetime transactiondate eventdate "
        "reviewdate datum zeit zeitpunkt bestelldatum kaufdatum rechnungsdatum fecha heure"
    ),
    "rating": "rating stars overall score rate ratings grade bewertung sterne note",
    "review": "review reviewtext text comment body content",
    "summary": "summary headline reviewsummary",
    "explanation": "explanation",
    "event": "event eventtype type action behavior behaviour activity interaction",
}
TITLES = "title name producttitle productname itemname movietitle description"
AMOUNTS = "quantity qty units unitssold count menge anzahl stueck cantidad quantite"
CATEGORIES = "categories category genres genre tags attributes"


def of_words(words: str, names: Sequence[str]) -> str | None:
    """The column that is called as the first of some words that any is called as."""
    plain = _plain(names)
    return next((plain[word] for word in words.split() if word in plain), None)


def of_role(role: str, names: Sequence[str]) -> str | None:
    """The column that is called as a role is, or as something longer that can be nothing else."""
    if (exact := of_words(ROLES[role], names)) is not None:
        return exact
    plain, words = _plain(names), ROLES[role].split()
    if role == "rating":
        return next((name for key, name in plain.items() if re.search(r"^(?!avg|average|mean).*ratings?$", key)), None)
    longer = (name for key, name in plain.items() if any(len(word) > 3 and key.startswith(word) for word in words))
    return next(longer, None) if role in ("user", "item", "time") else None


def _plain(names: Sequence[str]) -> dict[str, str]:
    return {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
