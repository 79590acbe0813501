"""Alembic's entry: shared.migrate passes the connection in; with --sql the statements are printed.

Autogenerate passes in, besides, how the tables are compared.
"""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(dialect_name="postgresql", literal_binds=True)
else:
    comparing = context.config.attributes.get("comparing", {})
    context.configure(connection=connection, transaction_per_migration=True, **comparing)
with context.begin_transaction():
    context.run_migrations()
