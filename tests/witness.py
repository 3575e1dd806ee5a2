"""What every worker did, logged by the database, and the question whether it was right."""

from __future__ import annotations

# Logs each change of state, whoever makes it: the functions run as an owner that has no right on this table.
AUDIT = """
create table audit (record_id bigint, became text);
create function audit() returns trigger language plpgsql security definer set search_path = public as $$
begin insert into audit values (new.id, new.status); return null; end $$;
create trigger audit after update of status on conveyor.processing_queue
for each row when (old.status is distinct from new.status) execute function audit();
create table booking (record_id bigint, pid integer);
"""
# Completed once each, and booked once each by the process that completed it.
PROOF = """
select count(*) from conveyor.processing_queue as q
where q.status = 'completed'
    and (select count(*) from audit as a where a.record_id = q.id and a.became = 'completed') = 1
    and (select array_agg(b.pid) from booking as b where b.record_id = q.id) = array[(q.payload ->> 'pid')::integer]
"""
