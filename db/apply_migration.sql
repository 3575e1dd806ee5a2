-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
    \set file migrations/ :migration .sql
    \ir :file
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif
