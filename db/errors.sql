-- The error codes of the queue.  A code is never reused and a row is never removed.
-- errors.py has one exception for each; the conventions test keeps raised, documented and mapped equal.

insert into conveyor.error_code (sqlstate, name, meaning, client_action)
values
    -- WQ0nn  claimed records
    (
        'WQ001', 'claim_lost', 'the claim token no longer holds the record',
        'drop the result: the record was taken back, cancelled or answered'
    ),
    (
        'WQ002', 'record_not_found', 'no record has this id',
        'do not try again: the id is wrong, or the record was purged'
    ),
    (
        'WQ003', 'session_not_own', 'the session is shared by a pooler: a seat in it would stay with somebody else',
        'poll instead of parking, or connect directly'
    ),
    (
        'WQ004', 'source_moved', 'somebody else has moved or reset the watermark of the source since it was read',
        'let one reader work on a source; begin again with open_source'
    ),
    (
        'WQ005', 'source_changed', 'the watermark of the source was made by reading something else',
        'read as before, under another name, or reset the source'
    ),
    -- WQ9nn  installing
    (
        'WQ901', 'client_outdated', 'the database has a breaking migration that the client does not know',
        'upgrade the client'
    )
on conflict (sqlstate) do update
set name          = excluded.name,
    meaning       = excluded.meaning,
    client_action = excluded.client_action;
