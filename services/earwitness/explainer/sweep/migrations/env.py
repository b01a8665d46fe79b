"""Alembic's entry: runs the migrations on the connection that `Schema.migrate` hands over."""

from alembic import context

from earwitness.explainer.sweep.schema import metadata

# The connection is in a transaction, which on SQLite covers DDL, too.
context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
