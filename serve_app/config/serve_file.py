"""A Ray Serve config file with our application in it: read and checked strictly, since Serve ignores unknown keys."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

from serve_app.common.loopback import is_loopback
from serve_app.config import AppConfig, RouterSettings
from serve_app.config.checking.replica_files import path_faults
from serve_app.config.deployment import DeploymentOptions
from serve_app.config.explain import explain, kind_of
from serve_app.config.overrides import DeploymentOverride, check_shared
from serve_app.config.services import STATE_STORE
from serve_app.config.strict import Strict
from serve_app.config.yaml_file import parse_yaml, read_yaml
from serve_app.errors import ConfigError, WeightsError, choices
from serve_app.weights import parse_origins

M = TypeVar("M", bound=BaseModel)
SHIPPED = {"quickstart": Path(__file__).with_name("quickstart.yaml")}
"""The config files that come with the package, by name."""
DEFERRAL_POLICY = "serve_app.deployments.autoscaling:deferral_policy"
"""The `autoscaling_policy` that scales by the deferral rate."""


class HttpOptions(Strict):
    """Ray Serve's `http_options`."""

    host: str = Field(
        "127.0.0.1",
        description="Address that the server listens on; 0.0.0.0: every interface, which is the default of plain "
        "`serve run` and `serve deploy`.",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port that the server listens on.")
    root_path: str = ""
    request_timeout_s: float | None = Field(None, description="Seconds after which Ray Serve ends a request.")
    keep_alive_timeout_s: int = 90
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None


class ApplicationEntry(Strict):
    """One entry of `applications`."""

    name: str = Field("default", description="The application's name in Ray Serve.")
    route_prefix: str = Field("/", pattern="^/", description="Path under which the API is served.")
    import_path: Literal["serve_app.app:build_app"] = Field(description="The graph that this project builds.")
    runtime_env: dict[str, Any] = {}
    args: AppConfig = Field(description="Models, signals and cascades.")
    deployments: list[DeploymentOverride] = Field(
        [], description="Options of deployments that take precedence over those in args; the router's user_config."
    )
    logging_config: dict[str, Any] | None = None
    autoscaling_policy: dict[str, Any] | None = Field(
        None, description="Ray Serve's own; our deferral_policy scales models by what is deferred to them."
    )
    external_scaler_enabled: bool = False

    def deployments_in_force(self) -> dict[str, DeploymentOptions]:
        """Return the options of every deployment, with `deployments` over those in `args`."""
        entries = {entry.name: entry for entry in self.deployments}
        return {
            name: entries[name].applied_to(options) if name in entries else options
            for name, options in self.args.deployments().items()
        }

    def working_dir_field(self, deployment: str) -> str | None:
        """Return the field that sets the `working_dir` of a deployment's replicas, or None.

        As in Ray Serve, the runtime environment of the deployment takes precedence over the application's, key by key.
        """
        for number, entry in enumerate(self.deployments):
            own = (entry.ray_actor_options or {}).get("runtime_env")
            if entry.name == deployment and isinstance(own, dict) and "working_dir" in own:
                where = f"deployments[{number}].ray_actor_options.runtime_env.working_dir"
                return where if own["working_dir"] is not None else None
        return "runtime_env.working_dir" if self.runtime_env.get("working_dir") is not None else None


class ServeFile(Strict):
    """The whole file, as `serve run`, `serve deploy` and KubeRay take it."""

    proxy_location: Literal["EveryNode", "HeadOnly", "Disabled"] = "EveryNode"
    http_options: HttpOptions = HttpOptions()
    grpc_options: dict[str, Any] = {}
    controller_options: dict[str, Any] | None = None
    logging_config: dict[str, Any] | None = None
    tracing_config: dict[str, Any] | None = None
    target_capacity: float | None = None
    applications: list[ApplicationEntry] = Field(
        min_length=1, max_length=1, description="Exactly one; several cascades go into its args."
    )
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _with_raw(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        file = validate(values)
        file._raw = deepcopy(values)
        return file

    def raw(self) -> dict[str, Any]:
        """Return a copy of the values as the user wrote them, without defaults, to change and to write out again.

        What aliases of YAML repeat is there once for each, so that a change of one place changes no other.
        """
        return {key: _copied(value) for key, value in self._raw.items()}

    @property
    def application(self) -> ApplicationEntry:
        """Return the application; several cascades go into its `args`, not into several applications."""
        return self.applications[0]

    @property
    def is_open(self) -> bool:
        """Return whether other machines can reach the server."""
        return not is_loopback(self.http_options.host)

    @property
    def lets_everybody_in(self) -> str | None:
        """Return a warning if other machines reach the server without a key and without `open`, or None."""
        access = self.application.args.router.access
        if not self.is_open or access.open or access.keys_file is not None:
            return None
        return (
            f"http_options.host: {self.http_options.host!r} lets other machines in, and there are no API keys. Create "
            "one (cascade keys create NAME --file keys.yaml), and write router: {access: {keys_file: keys.yaml}} into "
            "args; or take the host 127.0.0.1; or, if something before the server asks for keys, write "
            "router: {access: {open: true}}."
        )

    @property
    def url(self) -> str:
        """Return the address of the server for a client on this machine."""
        host = "127.0.0.1" if self.http_options.host in ("0.0.0.0", "::") else self.http_options.host
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.http_options.ssl_certfile else "http"
        prefix = self.application.route_prefix.rstrip("/")
        return f"{scheme}://{host}:{self.http_options.port}{prefix}"

    def thresholds(self) -> dict[str, list[float]]:
        """Return the thresholds in force: the router's `user_config` over those in `args`."""
        return self._router_settings().applied_to(self.application.args)

    def args_in_force(self) -> AppConfig:
        """Return `args` with the thresholds in force in them, usual ones and those under pressure.

        As in the server, one under pressure is never above the usual one, which a deploy may have lowered.
        """
        config, settings = self.application.args, self._router_settings()
        under_pressure = settings.shed_thresholds(config)
        cascades = {}
        for id_, row in settings.applied_to(config).items():
            cascade = config.cascades[id_]
            *members, target = cascade.tiers
            tiers = [tier.model_copy(update={"threshold": value}) for tier, value in zip(members, row, strict=True)]
            update: dict[str, Any] = {"tiers": [*tiers, target]}
            if cascade.shed is not None and id_ in under_pressure and cascade.shed.by == "thresholds":
                lower = [min(pair) for pair in zip(under_pressure[id_], row, strict=True)]
                update["shed"] = cascade.shed.model_copy(update={"thresholds": lower})
            cascades[id_] = cascade.model_copy(update=update)
        return config.model_copy(update={"cascades": cascades})

    def calibrated_for_pressure(self) -> list[str]:
        """Return the cascades whose calibrations have thresholds under pressure."""
        return [
            id_ for id_, calibration in self._router_settings().calibrations.items() if calibration.shed is not None
        ]

    def calibrated_rate(self, cascade: str) -> float | None:
        """Return the share of requests that a cascade's calibration expects its first tier to defer, or None."""
        calibrated = self._router_settings().calibrations.get(cascade)
        return None if calibrated is None or calibrated.deferral_rate is None else calibrated.deferral_rate[0]

    def _router_settings(self) -> RouterSettings:
        for entry in self.application.deployments:
            if entry.name == "Router" and entry.user_config is not None:
                return RouterSettings.model_validate(entry.user_config)
        return RouterSettings()


def load(path: Path, faults: Callable[[dict[str, Any]], list[str]] | None = None) -> ServeFile:
    """Return the file's values. Raises ConfigError with a sentence for each thing that is wrong.

    `faults` may check the parts that are Ray Serve's: `config.ray_rules.load` passes its own.
    """
    return _checked(path, read_yaml(path, "config file"), faults)


def loads(text: str, path: Path, faults: Callable[[dict[str, Any]], list[str]] | None = None) -> ServeFile:
    """Return the values of a file's text, as `load` does; `path` is only its name in messages."""
    return _checked(path, parse_yaml(text, path, "config file"), faults)


def _copied(value: Any) -> Any:
    """Return a copy of a YAML document's value that no other value shares a part with."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _checked(path: Path, values: Any, faults: Callable[[dict[str, Any]], list[str]] | None) -> ServeFile:
    file = _parse(path, ServeFile, values)
    if faults is not None and (sentences := faults(values)):
        raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in sentences))
    _check_overrides(path, file)
    _check_policy(path, file)
    _check_sources(path, file)
    if sentences := list(path_faults(file.application)):
        raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in sentences))
    return file


def _parse(path: Path, model: type[M], values: Any, prefix: str = "") -> M:
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping with `applications` in it, got {kind_of(values)}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in explain(error, model, prefix))) from None


def _check_sources(path: Path, file: ServeFile) -> None:
    for name, weights, sha256 in file.application.args.weights():
        try:
            parse_origins(weights, sha256)
        except WeightsError as error:
            raise ConfigError(f"{path}: the weights of {name!r}: {error}") from None


def _check_overrides(path: Path, file: ServeFile) -> None:
    config = file.application.args
    options = config.deployments()
    names: set[str] = set()
    for number, entry in enumerate(file.application.deployments):
        inside = f"applications[0].deployments[{number}]."
        if entry.name in names:
            # Ray Serve would merge them, and a reader would miss one.
            raise ConfigError(f"{path}: {inside}name: {entry.name!r} is listed twice.")
        names.add(entry.name)
        if entry.name == STATE_STORE and STATE_STORE not in options:
            sentence = "only several routers share a StateStore; write the replicas into args.router.deployment first"
            raise ConfigError(f"{path}: {inside}name: {sentence}.")
        if entry.name not in options:
            raise ConfigError(f"{path}: {inside}name: no deployment {entry.name!r}. {choices(entry.name, options)}")
        try:
            check_shared(entry.name, entry.applied_to(options[entry.name]), options)
        except ValidationError as error:
            sentences = explain(error, DeploymentOptions, inside)
            raise ConfigError("\n".join(f"{path}: {sentence}" for sentence in sentences)) from None
        except ValueError as error:
            raise ConfigError(f"{path}: {inside}{error}.") from None
        if entry.user_config is not None:
            _check_user_config(path, inside, entry, config)


def _check_policy(path: Path, file: ServeFile) -> None:
    """Raise ConfigError if deferral has nothing to scale, or Serve would not collect the router's metrics."""
    policy = file.application.autoscaling_policy or {}
    if policy.get("policy_function") != DEFERRAL_POLICY:
        return
    options = file.application.deployments_in_force()
    where = f"{path}: applications[0].autoscaling_policy"
    if not any(options[name].autoscaling_config for name in file.application.args.later_models()):
        raise ConfigError(f"{where}: no model that requests are deferred to has an autoscaling_config.")
    if options["Router"].autoscaling_config is None:
        raise ConfigError(
            f"{where}: the Router needs an autoscaling_config, too, or Ray Serve does not collect its metrics."
        )


def _check_user_config(path: Path, inside: str, entry: DeploymentOverride, config: AppConfig) -> None:
    if entry.name != "Router":
        raise ConfigError(f"{path}: {inside}user_config: only the Router has settings that change while it runs.")
    settings = _parse(path, RouterSettings, entry.user_config, f"{inside}user_config.")
    try:
        settings.applied_to(config)
    except ValueError as error:
        raise ConfigError(f"{path}: {inside}user_config.{error}.") from None
