"""Records, the store that keeps them, and the boards and comparisons computed from them."""

from robustdeq.results.compare import Paired as Paired
from robustdeq.results.compare import compare as compare
from robustdeq.results.leaderboard import Standing as Standing
from robustdeq.results.leaderboard import leaderboard as leaderboard
from robustdeq.results.publish import check_boards as check_boards
from robustdeq.results.publish import render as render
from robustdeq.results.publish import write_boards as write_boards
from robustdeq.results.record import Record as Record
from robustdeq.results.report import report as report
from robustdeq.results.store import ResultStore as ResultStore
