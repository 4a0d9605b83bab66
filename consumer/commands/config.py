"""`config check` and `config show`: the configuration itself."""

from __future__ import annotations

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from reconcile.config.settings import NEEDED
from reconcile.config.settings import show as effective
from reconcile.model import Misconfigured
from reconcile.reports.forms import Table
from reconcile.tables import condition
from reconcile.tables.catalog import check as mapping_faults

COLUMNS = ("key", "value", "source")


def show(call: Call) -> Answer:
    """Show every key, its effective value, secrets masked, and where it comes from."""
    rows = effective(call.settings())
    if call.options.only_set:
        rows = [row for row in rows if row[2] != "default"]
    named = call.file()
    note = f"configuration file: {named}" if named else "no configuration file"
    return Answer(Table("settings", COLUMNS, rows, none="nothing is set; everything is at its default", notes=(note,)))


def check(call: Call) -> Answer:
    """Tell every fault of the settings, and of the mapping against the tables as they are; or what is in force."""
    settings, extent = call.settings(*NEEDED), "without the database"
    if not call.options.offline:
        with database(settings) as opened, opened.use() as connection:
            is_reader = condition.is_reader(connection)  # who flags nothing, whatever is configured
            faults = mapping_faults(connection, settings.mapping, flagging=settings.flagging and not is_reader)
        if faults:
            raise Misconfigured(*faults)
        extent = "the mapping fits the tables" + ("; this user may only read, and flags nothing" if is_reader else "")
    rows = [row for row in effective(settings) if row[2] != "default"]
    return Answer(Table("settings", COLUMNS, rows, notes=(f"no fault; {extent}",)))
