"""Records, the store that keeps them, and the boards and comparisons computed from them."""

from robustdeq.results.boards.compare import Paired as Paired
from robustdeq.results.boards.compare import compare as compare
from robustdeq.results.boards.leaderboard import Standing as Standing
from robustdeq.results.boards.leaderboard import leaderboard as leaderboard
from robustdeq.results.formats.publish import check_boards as check_boards
from robustdeq.results.formats.publish import render as render
from robustdeq.results.formats.publish import write_boards as write_boards
from robustdeq.results.reports.comparison import report as report
from robustdeq.results.store.record import Record as Record
from robustdeq.results.store.result_store import ResultStore as ResultStore
