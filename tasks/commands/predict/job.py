"""mode=predict: from a source to drawn images and files for machines."""

from __future__ import annotations

import logging
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from backbone.disk import digest_of
from backbone.errors import InputError
from tasks.commands.predict.ahead import ahead
from tasks.commands.predict.journal import FILE, Journal, is_begun
from tasks.commands.predict.reading import PIXELS_AHEAD, Loaded, Reader, stamp_of
from tasks.commands.predict.results import write_results
from tasks.commands.predict.video import VideoReader, VideoWriter
from tasks.commands.predict.writer import PICTURES, ResultsWriter
from tasks.config.predict import VideoOutput
from tasks.config.training import AUTO
from tasks.data.files.sources import ImageSource, Names, Video, find
from tasks.data.loading.workers import default_workers
from tasks.runs import folder as run_folder
from tasks.runs.log import duration
from tasks.runs.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from tasks.commands.job import Job
    from tasks.commands.predict.journal import Entry
    from tasks.config.predict import PredictConfig
    from tasks.config.training import TrainerConfig
    from tasks.predictor import Pixels, Predictor

log = logging.getLogger(__name__)

DOWNLOADS = "downloads"
DECIDING = ("backbone", "head", "transform", "predict", "evaluation")
"""Parts of the configuration on which the answers depend, or how they are written."""
WITHOUT_EFFECT = ("predict.batch_size", "predict.workers", "evaluation.backend", "evaluation.drawn_images",
                  "evaluation.drawn_score")  # fmt: skip
NAMED = 5
"""Failures that are said on the console."""


def predict(
    job: Job,
    section: PredictConfig,
    trainer: TrainerConfig,
    *,
    checkpoint: str | None,
    artifact: str | None,
    source: str,
) -> bool:
    """Predict on everything in a source, into the run folder; go on where an earlier run there ended.

    Returns:
        Whether a signal ended it before its time; what there was by then is written.
    Raises:
        InputError: the source has no images, the checkpoint does not fit, a file cannot be written; or, when
            everything else is done, images could not be read.
    """
    folder = job.folder
    found = find(source, without=folder)
    if isinstance(found, Video) and is_begun(folder):
        raise InputError(f"run_dir={folder}: is not empty, and a video starts from its beginning; name another folder")
    with ExitStack() as stack:
        video = (
            stack.enter_context(closing(VideoReader(found, section.max_frames))) if isinstance(found, Video) else None
        )
        predictor = job.builder.predictor(section, checkpoint=checkpoint, artifact=artifact)
        run_folder.make(folder)
        made_by = _made_by(job.command.written, str(artifact or checkpoint), source)
        journal = stack.enter_context(closing(Journal(folder / FILE, made_by)))
        job.begin()
        stop = stack.enter_context(Stop("\nstopping: writing what there is; once more to stop at once"))
        max_side = getattr(job.builder.transform, "max_side", None)
        run = Run(section, max_side, folder, predictor, journal, stop, progress_bar=trainer.progress_bar)
        started = monotonic()
        try:
            if video is not None:
                run.film(video)
            else:
                assert isinstance(found, list)
                run.look_at(found)
        finally:
            write_results(lambda: iter(journal), folder, predictor.labels, run.failures)
        return _report(run, folder, monotonic() - started)


class Run:
    """Images or frames on their way from the source to the files.

    Attributes:
        failures: of images that could not be read.
        answered: images that were answered in this run.
        skipped: images that an earlier run answered.
        shrunk: images that the model saw smaller than they are, where it would see them as they are.
    """

    def __init__(
        self,
        config: PredictConfig,
        max_side: int | None,
        folder: Path,
        predictor: Predictor,
        journal: Journal,
        stop: Stop,
        *,
        progress_bar: bool,
    ) -> None:
        self.config = config
        self.progress_bar = progress_bar and sys.stderr.isatty()
        self.max_side = max_side
        self.folder = folder
        self.predictor = predictor
        self.journal = journal
        self.stop = stop
        self.workers = config.workers or default_workers() + 1
        self.failures: list[Entry] = []
        self.answered = self.skipped = self.shrunk = 0
        self._ids: dict[str, int] = {}

    def look_at(self, sources: list[ImageSource]) -> None:
        """Answer about images, but for those that the journal has already."""
        names, wanted = Names(), []
        known = {entry.file: (entry.image_id, entry.name, entry.stamp, bool(entry.error)) for entry in self.journal}
        for _, name, _, _ in known.values():
            names.keep(name)
        for source in sources:
            number, name, stamp, failed = known.get(source.file, (0, "", None, True))
            if not failed and stamp == stamp_of(source):
                self.skipped += 1
                continue
            if number:
                self._ids[source.file] = number
            wanted.append((source, name or names.give(source.file)))
        if self.skipped:
            log.info("%d of %d images were answered before, in %s", self.skipped, len(sources), self.folder)
        results = ResultsWriter(self.folder, self.predictor, pictures=self.config.pictures, hand_back=False)
        with ThreadPoolExecutor(self.workers) as pool:
            ahead = 2 * max(self.predictor.batch_size, self.workers)
            reader = Reader(pool, self.predictor.see, self.folder / DOWNLOADS, ahead)
            with closing(reader.read(wanted)) as loaded:  # type: ignore[type-var]
                for entry, _ in self._answer(loaded, results, pool, len(wanted)):
                    if entry.error:
                        self.failures.append(entry)

    def film(self, video: VideoReader) -> None:
        """Answer about frames, and write them as one video or as images."""
        filming = self.config.pictures and self.config.video is VideoOutput.video
        results = ResultsWriter(
            self.folder, self.predictor, pictures=self.config.pictures and not filming, hand_back=filming
        )
        name = video.video.name
        writer: VideoWriter | None = None
        with ThreadPoolExecutor(self.workers) as pool:
            frames = (
                Loaded(str(video.video.where), f"{name}/{number:06}", frame, self.predictor.see(frame), number)
                for number, frame in enumerate(video)
            )
            try:
                with closing(ahead(frames, self.predictor.batch_size)) as read:
                    for _, drawn in self._answer(read, results, pool, video.frames):
                        if drawn is not None:
                            path = self.folder / PICTURES / f"{name}.mp4"
                            writer = writer or VideoWriter(path, video.rate, (drawn.shape[0], drawn.shape[1]))
                            writer.add(drawn)
            finally:
                if writer is not None:
                    writer.close()

    def _answer(
        self, items: Iterable[Loaded], results: ResultsWriter, pool: ThreadPoolExecutor, total: int | None
    ) -> Iterator[tuple[Entry, Pixels | None]]:
        """Entries in the order of the items, each in the journal when it comes out."""
        waiting: deque[tuple[Future[tuple[Entry, Pixels | None]], int]] = deque()

        def finish() -> tuple[Entry, Pixels | None]:
            entry, drawn = waiting.popleft()[0].result()
            self.journal.add(entry)
            bar.update(task, advance=1, rate=f"{bar.tasks[0].speed or 0:.1f}/s")
            self.answered += not entry.error
            return entry, drawn

        with Progress(*columns(), console=Console(stderr=True), disable=not self.progress_bar) as bar:
            task: TaskID = bar.add_task("", total=total, rate="")
            try:
                for batch in batches(items, self.predictor.batch_size):
                    for loaded, prediction in self._predict(batch):
                        number = 0 if prediction is None else self._ids.get(loaded.file) or self.journal.new_id()
                        waiting.append((pool.submit(results.write, loaded, prediction, number), loaded.pixels))
                    while waiting and (
                        waiting[0][0].done()
                        or len(waiting) > 2 * max(self.predictor.batch_size, self.workers)
                        or sum(pixels for _, pixels in waiting) > PIXELS_AHEAD
                    ):
                        yield finish()
                    if self.stop.wanted:
                        break
                while waiting:
                    yield finish()
            finally:
                for future, _ in waiting:
                    future.cancel()

    def _predict(self, batch: list[Loaded]) -> Iterator[tuple[Loaded, Any]]:
        views, sizes = [], []
        for loaded in batch:
            if loaded.seen is not None and loaded.image is not None:
                views.append(loaded.seen)
                sizes.append(loaded.image.shape[:2])
                self.shrunk += self.max_side is not None and max(sizes[-1]) > self.max_side
        predictions = iter(self.predictor.predict(views, sizes) if views else ())
        for loaded in batch:
            whole = None if loaded.seen is None else next(predictions)
            if whole is not None and loaded.image is not None:
                whole = self.predictor.in_tiles(loaded.image, whole)
            yield loaded, whole
            loaded.seen = None


def batches(items: Iterable[Loaded], size: int) -> Iterator[list[Loaded]]:
    """Up to `size` items each, fewer where they have many pixels."""
    batch: list[Loaded] = []
    pixels = 0
    for loaded in items:
        if batch and (len(batch) == size or pixels + loaded.pixels > PIXELS_AHEAD):
            yield batch
            batch, pixels = [], 0
        batch.append(loaded)
        pixels += loaded.pixels
    if batch:
        yield batch


def columns() -> tuple[Any, ...]:
    """Columns of the progress bar: how many, rate and time left."""
    return BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn()


def _made_by(written: Mapping[str, Any], checkpoint: str, source: str) -> dict[str, Any]:
    """What decides the answers, as plain values by name; as journals have it that older versions began."""
    options = {
        f"{section}.{name}": value
        for section in DECIDING
        for name, value in (written.get(section) or {}).items()
        if f"{section}.{name}" not in WITHOUT_EFFECT
    }
    if options.get("predict.tiles") == AUTO:
        del options["predict.tiles"]
    if options.get("transform.max_side") == options.get("predict.max_side"):
        options["transform.max_side"] = None
    made_of = f"sha256:{digest_of(Path(checkpoint))}" if Path(checkpoint).is_file() else checkpoint
    return {"checkpoint": made_of, "source": source, **options}


def _report(run: Run, folder: Path, seconds: float) -> bool:
    """Say how it went.

    Returns:
        Whether it was stopped.
    Raises:
        InputError: images could not be read.
    """
    log.info("%d answered in %s (%.1f/s)", run.answered, duration(seconds), run.answered / max(seconds, 1e-9))
    if run.shrunk:
        log.warning(
            "%d were larger than %d pixels and were looked at shrunk (predict.max_side); answers keep their sizes",
            run.shrunk, run.max_side,
        )  # fmt: skip
    log.info("everything is in %s", folder)
    if run.stop.wanted:
        return True
    if run.failures:
        for entry in run.failures[:NAMED]:
            log.warning("%s", entry.error)
        total = len(run.failures) + run.answered + run.skipped
        raise InputError(
            f"source: {len(run.failures)} of {total} images could not be read, the first is {run.failures[0].file};"
            f" {folder / 'failed.csv'} has all of them with the reasons, the other images are done"
        )
    return False
