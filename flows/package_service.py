"""Flow that packages the serving models into a Bento."""

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from flows.local.bento_build import package
from flows.tasks.training_tasks import IO
from sensei.errors import NothingServed
from sensei.events.log import open_log
from sensei.private_files import keep_files_private
from sensei.settings import Settings


@task(name="package", **IO)
def package_bundle(settings: Settings, digest: str) -> str:
    """Build the Bento of a bundle.

    Returns:
        Its tag.
    """
    get_run_logger().info("Package: bentoml build")
    tag = package(settings.bundles / digest, settings.bentos)
    get_run_logger().info("Package: %s", tag)
    return tag


@flow(name="package-service", description="The models that serve -> Bento.")
def package_service() -> str:
    """Package the service with the models that it serves now.

    Returns:
        Tag of the Bento.

    Raises:
        NothingServed: no model was promoted yet.
    """
    keep_files_private()
    settings = Settings()
    digest = open_log(settings.log_url).pointer()
    if digest is None:
        raise NothingServed(
            "package: expected a promoted model, got none; run `sensei train` first"
        )
    tag = package_bundle(settings, digest)
    create_markdown_artifact(
        key="bento",
        markdown=f"Bento `{tag}` of bundle `{digest}`, in `{settings.bentos}`.",
        description="Contents of the package",
    )
    return tag
