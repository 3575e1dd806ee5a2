-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
    \set file migrations/ :migration .sql
    \ir :file
    insert into conveyor.migration (name) values (:'migration');
\endif
