-- Refuse to put older functions over tables that a breaking migration has changed.  For psql; install.py does the same.

select conveyor.check_client(string_to_array(:'known', ','))
\gset
