"""Flow that packages the serving models into a Bento."""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.tasks.package_task import package_bundle
from sensei.errors import NothingServed
from sensei.events.log import open_log
from sensei.private_files import keep_files_private
from sensei.settings import Settings


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
