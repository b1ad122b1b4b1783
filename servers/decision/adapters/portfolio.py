"""The portfolio server: what the account as a whole made."""

from __future__ import annotations

import grpc
from tapeline.portfolio.v1 import portfolio_service_pb2, portfolio_service_pb2_grpc

from servers.runtime.channels import Channels
from servers.runtime.status import from_rpc_error
from servers.wire.money import money_from_wire


class GrpcPortfolio:
    """`Portfolio` over the portfolio server's channel."""

    def __init__(self, channels: Channels) -> None:
        self._stub = portfolio_service_pb2_grpc.PortfolioServiceStub(channels.channel("portfolio"))

    async def profit_attos(self, account: str, currency_code: str) -> int:
        try:
            response = await self._stub.GetPortfolio(
                portfolio_service_pb2.GetPortfolioRequest(account=account)
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        parts = ((1, response.realised_profit), (1, response.unrealised_profit), (-1, response.fees))
        return sum(
            sign * money_from_wire(amount, "profit").attos
            for sign, amounts in parts
            for amount in amounts
            if amount.currency_code == currency_code
        )
