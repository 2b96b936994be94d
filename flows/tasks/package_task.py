"""Task that packages a bundle and the service into a Bento."""

from prefect import get_run_logger, task

from flows.local.bento_build import package
from flows.tasks.training_tasks import IO
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
