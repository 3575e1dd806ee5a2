-- conveyor.mark_record_completed: the answer takes the place of the question, once, by the holder of the token.
begin;
select plan(24);

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, crash_count, error_message, failure_kind)
values (1, 'survey', '{"n": 1}', 2, 1, 'earlier', 'error');

insert into conveyor.processing_queue (id, flow_name, payload)
values (2, 'survey', '{"n": 2}'), (3, 'survey', '{"n": 3}'), (4, 'survey', '{"n": 4}'), (5, 'survey', '{"n": 5}'),
    (6, 'survey', '{"n": 6}'), (7, 'survey', '{"n": 7}');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 6, 'worker-1') as c;

create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

-- Calls the function for a record with the token of its claim.
create function pg_temp.complete(p_id bigint, p_result jsonb) returns void language sql as $$
select conveyor.mark_record_completed(p_id => h.id, p_result => p_result, p_token => h.claim_token)
from held as h
where h.id = p_id;
$$;

select lives_ok(
    $$ select pg_temp.complete(1, '{"status": "success"}') $$,
    'the holder of the token completes its record'
);

select results_eq(
    $$
    select q.status, q.payload, q.input, num_nonnulls(q.lease_expires_at, q.error_message, q.failure_kind)
    from conveyor.processing_queue as q
    where q.id = 1
    $$,
    $$ values ('completed', '{"status": "success"}'::jsonb, '{"n": 1}'::jsonb, 0) $$,
    'payload takes the answer, input what was asked, and the lease and the earlier error are gone'
);

select ok(
    q.completed_at > q.claimed_at and q.completed_at <= clock_timestamp() and q.updated_at >= q.completed_at,
    'completed_at and updated_at are the time of the call'
)
from conveyor.processing_queue as q
where q.id = 1;

select results_eq(
    $$
    select
        to_jsonb(q)
        - '{status,payload,input,lease_expires_at,completed_at,updated_at,error_message,failure_kind}'::text[]
    from conveyor.processing_queue as q
    where q.id = 1
    $$,
    $$
    select
        to_jsonb(c)
        - '{status,payload,input,lease_expires_at,completed_at,updated_at,error_message,failure_kind}'::text[]
    from claimed as c
    where c.id = 1
    $$,
    'token, holder, claimed_at, counts and everything else stay'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id > 1 order by q.id',
    'select c.* from claimed as c where c.id > 1 order by c.id',
    'other records of the claim stay as they are'
);

select is_empty('select from conveyor.attempt', 'an attempt that completed is in the record, not in attempt');

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select lives_ok($$ select pg_temp.complete(1, '{"status": "success"}') $$, 'the same answer may be repeated');

select lives_ok(
    $$ select pg_temp.complete(1, '{"status": "another"}') $$,
    'a repeat with another result is accepted as a repeat'
);

select throws_ok(
    format('select conveyor.mark_record_completed(2, ''{}'', %s)', h.claim_token + 1),
    'WQ001', null,
    'another token is a lost claim'
)
from held as h
where h.id = 2;

select throws_ok(
    format('select conveyor.mark_record_completed(7, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'a record that was not claimed cannot be completed with the token of its neighbours'
)
from held as h
where h.id = 2;

select throws_ok(
    $$ select conveyor.mark_record_completed(2, '{}', null) $$,
    'WQ001', null,
    'no token is a lost claim'
);

select throws_ok(
    $$ select conveyor.mark_record_completed(-1, '{}', 1) $$,
    'WQ002', null,
    'an id that does not exist is an error of its own'
);

select throws_like(
    $$ select conveyor.mark_record_completed(1, '{}', 42) $$,
    '%42%record 1%',
    'the error names token and record'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k order by k.id',
    'repeats and refused calls change nothing'
);

select conveyor.release_records(array[h.id], array[h.claim_token]) from held as h where h.id = 2;
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 3;
update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.id in (4, 5);
select pg_temp.complete(4, '{"late": true}');

select is(
    (select q.status from conveyor.processing_queue as q where q.id = 4), 'completed',
    'a record is completed after its lease while nobody took it back'
);

select conveyor.cleanup_orphaned_records();
delete from kept;
insert into kept select q.* from conveyor.processing_queue as q;

select throws_ok($$ select pg_temp.complete(2, '{}') $$, 'WQ001', null, 'a released record cannot be completed');
select throws_ok($$ select pg_temp.complete(3, '{}') $$, 'WQ001', null, 'a failed record cannot be completed');
select throws_ok($$ select pg_temp.complete(5, '{}') $$, 'WQ001', null, 'an orphaned record cannot be completed');

select conveyor.claim_records_batch('survey', 10, 'worker-2');

select throws_ok(
    $$ select pg_temp.complete(5, '{}') $$,
    'WQ001', null,
    'a record that somebody else claimed cannot be completed'
);

select is(
    (select q.flow_instance_id from conveyor.processing_queue as q where q.id = 5), 'worker-2',
    'a late answer leaves the record to its holder'
);

select lives_ok($$ select pg_temp.complete(6, null) $$, 'a result may be null');

select results_eq(
    'select q.status, q.payload, q.input from conveyor.processing_queue as q where q.id = 6',
    $$ values ('completed', '{}'::jsonb, '{"n": 6}'::jsonb) $$,
    'a null result is stored as an empty object, since payload is never null'
);

select conveyor.configure_flow('short', '{"keep_input": false}');
insert into conveyor.processing_queue (id, flow_name, payload) values (8, 'short', '{"n": 8}');
select conveyor.mark_record_completed(c.id, '[8]', c.claim_token) from conveyor.claim_records_batch('short', 1) as c;

select results_eq(
    'select q.payload, q.input from conveyor.processing_queue as q where q.id = 8',
    $$ values ('[8]'::jsonb, null::jsonb) $$,
    'with keep_input off only the answer is kept'
);

update conveyor.processing_queue as q
set status = 'pending', flow_instance_id = null, claimed_at = null
where q.id = 1;
select conveyor.mark_record_completed(c.id, '{"status": "better"}', c.claim_token)
from conveyor.claim_records_batch('survey', 10) as c;

select results_eq(
    'select q.payload, q.input from conveyor.processing_queue as q where q.id = 1',
    $$ values ('{"status": "better"}'::jsonb, '{"n": 1}'::jsonb) $$,
    'a completed record that raw SQL reset keeps its first question when it is completed again'
);

select * from finish();
rollback;
