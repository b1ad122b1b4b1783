"""The rules that one order or one parent has to pass, first broken limit first.

Every rule is arithmetic on integers; the caller serialises per account, so a check that passes can be
reserved before the next one is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument, ListingState, ShortSaleState
from servers.model.market import MarketPhase, Quote
from servers.model.nanos import Money, nanos_to_text
from servers.model.order import OrderTerms, Rejection, Side
from servers.risk.domain.exposure import AccountBook, SymbolExposure
from servers.risk.domain.limits import BILLION, EffectiveLimits
from servers.risk.domain.market import COLLECTING_PHASES, TRADING_PHASES, Market
from servers.risk.domain.reasons import REJECTION_REASONS


@dataclass(slots=True)
class Valuation:
    """An account's exposure in money at one moment, in 1e-18 units of its base currency."""

    gross_attos: int = 0
    taken_attos: int = 0
    profit_attos: int = 0
    prices: dict[str, int] = field(default_factory=dict)


def value_account(book: AccountBook, market: Market) -> Valuation:
    """Return what the account has at stake at present prices; a symbol without one counts nothing."""
    valuation = Valuation()
    prices = valuation.prices
    for symbol, exposure in book.symbols.items():
        price = market.price_nanos(symbol) or exposure.last_price_nanos
        prices[symbol] = price
        valuation.gross_attos += exposure.worst_nanos * price
        valuation.taken_attos += exposure.taken_nanos * price
        valuation.profit_attos += exposure.profit_attos(price)
    return valuation


def reject(reason: str, message: str = "", limit: str = "", value: str = "", bound: str = "") -> Rejection:
    """Return a rejection; without a message, the sentence of the table."""
    return Rejection(reason, message or REJECTION_REASONS[reason], limit, value, bound)


def check_market(
    limits: EffectiveLimits, instrument: Instrument | None, symbol: str, market: Market, wall_nanos: int
) -> Rejection | None:
    """Refuse an order when its instrument, phase or reference price does not allow one."""
    broken = check_instrument(limits, instrument, symbol)
    if broken is not None:
        return broken
    quote = market.quote(symbol)
    if quote.phase not in TRADING_PHASES:
        if quote.phase is MarketPhase.UNSPECIFIED:
            return reject("REFERENCE_PRICE_MISSING", f"nothing is known of the market of {symbol} yet")
        return reject("MARKET_PHASE", f"{symbol} is {quote.phase.name}", "market phase", quote.phase.name)
    return _check_reference(limits, quote, symbol, market, wall_nanos)


def check_instrument(limits: EffectiveLimits, instrument: Instrument | None, symbol: str) -> Rejection | None:
    """Refuse what is unknown, not listed, or in a currency that has no rate."""
    if instrument is None:
        return reject("SYMBOL_UNKNOWN", f"no instrument {symbol}")
    if instrument.listing_state is not ListingState.LISTED:
        state = instrument.listing_state.name
        return reject("INSTRUMENT_NOT_TRADABLE", f"{symbol} is {state}", "listing state", state, "LISTED")
    if instrument.currency_code != limits.currency_code:
        return reject(
            "CURRENCY_NOT_CONVERTIBLE", "", "base currency", instrument.currency_code, limits.currency_code
        )
    return None


def _check_reference(
    limits: EffectiveLimits, quote: Quote, symbol: str, market: Market, wall_nanos: int
) -> Rejection | None:
    if market.is_silent(wall_nanos):
        seconds = market.silent_nanos(wall_nanos) / NANOS_PER_SECOND
        return reject("REFERENCE_PRICE_STALE", f"the market data feed is silent for {seconds:.1f} s")
    if quote.phase in COLLECTING_PHASES:
        return None
    if not quote.reference_price_nanos:
        return reject("REFERENCE_PRICE_MISSING", f"no quote and no last price of {symbol}")
    age_nanos = market.now_nanos - quote.event_time_nanos
    if age_nanos > limits.max_reference_age_nanos:
        return reject(
            "REFERENCE_PRICE_STALE",
            f"the price of {symbol} is too old",
            "max_reference_age_seconds",
            f"{age_nanos / NANOS_PER_SECOND:.3f} s",
            f"{limits.max_reference_age_nanos / NANOS_PER_SECOND:g} s",
        )
    return None


def check_size(
    limits: EffectiveLimits, terms: OrderTerms, reference_nanos: int, median_volume: float
) -> Rejection | None:
    """Refuse an order that is too large or too far from the market, whatever else is open."""
    quantity, price = terms.quantity_nanos, terms.limit_price_nanos
    bound = limits.max_order_quantity_nanos
    if bound is not None and quantity > bound:
        return reject(
            "ORDER_QUANTITY_ABOVE_LIMIT", "", "max_order_quantity_nanos", shares(quantity), shares(bound)
        )
    if not (price or reference_nanos):
        return reject("REFERENCE_PRICE_MISSING", f"nothing says what {terms.symbol} is worth")
    bound = limits.max_order_notional_attos
    if bound is not None:
        notional = quantity * max(price, reference_nanos)
        if notional > bound:
            code = limits.currency_code
            return reject(
                "ORDER_NOTIONAL_ABOVE_LIMIT",
                "",
                "max_order_notional",
                money(code, notional),
                money(code, bound),
            )
    collar = limits.price_collar_ppb
    if collar is not None and price and reference_nanos:
        distance = (price - reference_nanos) * terms.side.sign
        if distance * BILLION > collar * reference_nanos:
            return reject(
                "PRICE_COLLAR",
                f"a limit of {nanos_to_text(price)} against a reference of {nanos_to_text(reference_nanos)}",
                "price_collar",
                f"{distance / reference_nanos:.6f}",
                f"{collar / BILLION:g}",
            )
    return check_participation(limits, quantity, median_volume)


def check_participation(
    limits: EffectiveLimits, quantity_nanos: int, median_volume: float
) -> Rejection | None:
    """Refuse what is too large a share of the trailing 20-day median volume, in shares."""
    if limits.max_participation is None:
        return None
    if median_volume <= 0:
        return reject("MEDIAN_VOLUME_UNKNOWN", "", "max_participation", "", f"{limits.max_participation:g}")
    share = quantity_nanos / BILLION / median_volume
    if share <= limits.max_participation:
        return None
    return reject(
        "PARTICIPATION_ABOVE_LIMIT", "", "max_participation", f"{share:.6f}", f"{limits.max_participation:g}"
    )


def check_exposure(
    limits: EffectiveLimits,
    instrument: Instrument,
    exposure: SymbolExposure,
    side: Side,
    added_nanos: int,
    from_parent_nanos: int,
    price_nanos: int,
    valuation: Valuation,
) -> Rejection | None:
    """Refuse what would break a limit together with everything that is open.

    `added_nanos` more would be open; `from_parent_nanos` of it is reserved already by the parent. An
    order that only reduces a position passes the limits on money, loss and restriction.
    """
    net = added_nanos - from_parent_nanos
    position = exposure.position_nanos
    if side is Side.BUY:
        reached = position + exposure.buys_nanos + net
        is_reducing = reached <= 0
    else:
        reached = exposure.sells_nanos + net - position
        is_reducing = reached <= 0
        if reached > 0:
            broken = _check_short(limits, instrument, reached)
            if broken is not None:
                return broken
    bound = limits.max_position_nanos
    if bound is not None and reached > bound:
        return reject("POSITION_ABOVE_LIMIT", "", "max_position_nanos", shares(reached), shares(bound))
    if is_reducing:
        return None
    if limits.is_restricted:
        return reject("RESTRICTED", f"{instrument.symbol} is restricted", "is_restricted")
    return _check_money(limits, exposure, side, net, price_nanos, valuation)


def _check_short(limits: EffectiveLimits, instrument: Instrument, short_nanos: int) -> Rejection | None:
    if limits.short_sale_permitted and instrument.short_sale_state is ShortSaleState.PERMITTED:
        return None
    who = "the instrument" if limits.short_sale_permitted else "the account"
    return reject(
        "SHORT_SALE_NOT_PERMITTED",
        f"{who} has no permission for short sales",
        "short_sale_permitted",
        shares(short_nanos),
        shares(0),
    )


def _check_money(
    limits: EffectiveLimits,
    exposure: SymbolExposure,
    side: Side,
    net_nanos: int,
    price_nanos: int,
    valuation: Valuation,
) -> Rejection | None:
    code = limits.currency_code
    worst, taken = added(exposure, side, net_nanos)
    gross = valuation.gross_attos + (worst - exposure.worst_nanos) * price_nanos
    for bound, value in ((limits.gross_attos, gross), (limits.symbol_gross_attos, worst * price_nanos)):
        if bound is not None and value > bound:
            return reject(
                "GROSS_EXPOSURE_ABOVE_LIMIT", "", "max_gross_exposure", money(code, value), money(code, bound)
            )
    total = valuation.taken_attos + (taken - exposure.taken_nanos) * price_nanos
    for bound, value in (
        (limits.buying_power_attos, total),
        (limits.symbol_buying_power_attos, taken * price_nanos),
    ):
        if bound is not None and value > bound:
            return reject("BUYING_POWER_EXCEEDED", "", "buying_power", money(code, value), money(code, bound))
    losses = (
        (limits.daily_loss_attos, -valuation.profit_attos),
        (limits.symbol_daily_loss_attos, -exposure.profit_attos(price_nanos)),
    )
    for bound, value in losses:
        if bound is not None and value > 0 and value >= bound:
            return reject(
                "DAILY_LOSS_ABOVE_LIMIT", "", "max_daily_loss", money(code, value), money(code, bound)
            )
    return None


def added(exposure: SymbolExposure, side: Side, net_nanos: int) -> tuple[int, int]:
    """Return worst-side exposure and shares that take money, with `net_nanos` more open on `side`."""
    position, buys, sells = exposure.position_nanos, exposure.buys_nanos, exposure.sells_nanos
    if side is Side.BUY:
        buys += net_nanos
    else:
        sells += net_nanos
    worst = max(position + buys, sells - position, abs(position))
    if position >= 0:
        return worst, position + buys + max(0, sells - position)
    return worst, sells - position + max(0, buys + position)


def shares(nanos: int) -> str:
    """Return a quantity with its unit."""
    return f"{nanos_to_text(nanos)} shares"


def money(currency_code: str, attos: int) -> str:
    """Return an amount with its unit."""
    return str(Money(currency_code, attos))
