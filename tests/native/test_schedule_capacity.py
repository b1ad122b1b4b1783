"""An adaptive order that is large beside what the market can carry."""

from native.adaptive_schedule import AdaptiveVwapSchedule

SECOND = 10**9
OPEN = 1_704_205_800 * SECOND


def test_what_the_forecast_cannot_carry_later_is_due_now() -> None:
    bins = [OPEN + i * 300 * SECOND for i in range(11)]
    expected = [100.0] * 10

    def order(rate: float) -> AdaptiveVwapSchedule:
        return AdaptiveVwapSchedule(
            100 * SECOND, SECOND, bins[0], bins[-1], bins, expected, capacity_rate=rate
        )

    # A tenth of 900 shares can be done after the first bin: 90 of 100, as the curve has it anyway.
    assert order(0.1).target_nanos(bins[1]) == order(0.0).target_nanos(bins[1]) == 10 * SECOND
    # A twentieth: 45 of 100, so 55 are due with the first bin, and each bin after it brings 5.
    tight = order(0.05)
    assert [tight.target_nanos(edge) // SECOND for edge in bins[1:]] == [
        55,
        60,
        65,
        70,
        75,
        80,
        85,
        90,
        95,
        100,
    ]
    # Twice the volume than was expected comes: it can be later again, but nothing is taken back.
    tight.revise(bins[1], [200.0] * 10)
    assert tight.target_nanos(bins[1]) == 55 * SECOND
    assert tight.target_nanos(bins[2]) == 55 * SECOND
    assert tight.target_nanos(bins[-1]) == 100 * SECOND
