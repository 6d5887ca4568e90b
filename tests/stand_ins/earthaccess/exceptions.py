"""The exceptions that the product knows."""


class LoginStrategyUnavailable(Exception): ...  # noqa: N818


class LoginAttemptFailure(Exception): ...  # noqa: N818


class EulaNotAccepted(Exception): ...  # noqa: N818
