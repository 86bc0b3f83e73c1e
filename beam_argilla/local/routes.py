"""A faster answer to some requests of a route of argilla-server's, and its own answer to all others."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from argilla_server.api.routes import api_v1
from argilla_server.database import get_async_db
from argilla_server.models import User
from argilla_server.search_engine import SearchEngine, get_search_engine
from argilla_server.security import auth
from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute, request_response
from sqlalchemy.ext.asyncio import AsyncSession

# What the functions of argilla-server's routes are given.
Session = Annotated[AsyncSession, Depends(get_async_db)]
Engine = Annotated[SearchEngine, Depends(get_search_engine)]
CurrentUser = Annotated[User, Security(auth.get_current_user)]


class ServersOwnWay(Exception):
    """This request is none of those that the faster way is for. Nothing has been written for it yet."""


class InEachOthersWay(Exception):
    """Another request came in between. Nothing has been written for this one yet, and it may be tried again."""


_ATTEMPTS = 5


def prefer(endpoint: Callable[..., Awaitable[Response]], own: Callable[..., Any]) -> None:
    """Lets a function answer the requests of one of argilla-server's, which still answers those that it leaves.

    Args:
      endpoint: The faster function, with FastAPI's dependencies in its signature. It raises `ServersOwnWay` for what it
        leaves, and `InEachOthersWay` for what is to be tried again, before it has written anything that stays.
      own: The function of argilla-server.
    """
    (route,) = [route for route in api_v1.routes if getattr(route, 'endpoint', None) is own]
    assert isinstance(route, APIRoute)
    faster = APIRoute(route.path, endpoint, dependency_overrides_provider=route.dependency_overrides_provider)
    answer_faster, answer_as_ever = faster.get_route_handler(), route.get_route_handler()

    async def answer(request: Request) -> Response:
        # The request holds the body once it is read, for whoever asks next.
        for _ in range(_ATTEMPTS):
            try:
                return await answer_faster(request)
            except InEachOthersWay:
                continue
            except ServersOwnWay:
                break
        return await answer_as_ever(request)

    route.app = request_response(answer)
