-- conveyor.mark_record_failed: a failure is final, unless the flow has a retry policy.
begin;
select plan(24);

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, crash_count, priority, run_at)
values (1, 'survey', '{"n": 1}', 2, 1, 7, '2020-01-01 00:00+00');

insert into conveyor.processing_queue (id, flow_name, payload)
values (2, 'survey', '{}'), (3, 'survey', '{}'), (4, 'survey', '{}'), (5, 'survey', '{}'), (6, 'survey', '{}'),
    (7, 'survey', '{}');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 6, 'worker-1') as c;

create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

-- Calls the function for a record with the token of its first claim.
create function pg_temp.fail(p_id bigint, p_error text) returns void language sql as $$
select conveyor.mark_record_failed(p_id => h.id, p_error => p_error, p_token => h.claim_token)
from held as h
where h.id = p_id;
$$;

select conveyor.mark_record_failed(
    p_id         => h.id,
    p_error      => 'division by zero',
    p_token      => h.claim_token,
    p_error_type => 'ZeroDivisionError',
    p_context    => '{"line": 7}'
)
from held as h
where h.id = 1;

select results_eq(
    $$
    select q.status, q.failure_kind, q.error_message, q.retry_count, q.crash_count, q.completed_at, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id = 1
    $$,
    $$ values ('failed', 'error', 'division by zero', 3, 1, null::timestamptz, null::timestamptz) $$,
    'the record is failed with its error, charged one retry and no crash'
);

select results_eq(
    $$
    select to_jsonb(q) - '{status,failure_kind,error_message,retry_count,lease_expires_at,updated_at}'::text[]
    from conveyor.processing_queue as q
    where q.id = 1
    $$,
    $$
    select to_jsonb(c) - '{status,failure_kind,error_message,retry_count,lease_expires_at,updated_at}'::text[]
    from claimed as c
    where c.id = 1
    $$,
    'payload, token, holder, claimed_at and everything else stay'
);

select results_eq(
    $$
    select a.record_id, a.claim_token, a.outcome, a.error, a.error_type, a.context, a.flow_instance_id
    from conveyor.attempt as a
    $$,
    $$
    select c.id, c.claim_token, 'failed', 'division by zero', 'ZeroDivisionError', '{"line": 7}'::jsonb, 'worker-1'
    from claimed as c
    where c.id = 1
    $$,
    'the attempt is kept: what went wrong and who tried'
);

select ok(
    a.claimed_at = q.claimed_at and a.ended_at > a.claimed_at and a.ended_at <= clock_timestamp()
        and q.updated_at >= a.ended_at,
    'the attempt began with the claim, and ended at the time of the call, as does updated_at'
)
from conveyor.attempt as a
join conveyor.processing_queue as q on a.record_id = q.id;

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id > 1 order by q.id',
    'select c.* from claimed as c where c.id > 1 order by c.id',
    'other records of the claim stay as they are'
);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select lives_ok($$ select pg_temp.fail(1, 'division by zero') $$, 'the same answer may be repeated');

select throws_ok($$ select conveyor.mark_record_failed(2, 'no', 42) $$, 'WQ001', null, 'another token is a lost claim');
select throws_ok($$ select conveyor.mark_record_failed(2, 'no', null) $$, 'WQ001', null, 'no token is a lost claim');
select throws_ok($$ select conveyor.mark_record_failed(-1, 'no', 1) $$, 'WQ002', null, 'an unknown id has its error');
select throws_ok($$ select pg_temp.fail(2, null) $$, '22023', 'p_error is null', 'a null error is refused by name');

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k order by k.id',
    'repeats and refused calls change nothing'
);

select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 2;
select conveyor.release_records(array[h.id], array[h.claim_token]) from held as h where h.id = 3;
update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.id in (4, 5);
select pg_temp.fail(4, '');

select results_eq(
    'select q.status, q.error_message from conveyor.processing_queue as q where q.id = 4',
    $$ values ('failed', '') $$,
    'a record is failed after its lease while nobody took it back, and the error may be empty'
);

select conveyor.cleanup_orphaned_records();

select throws_ok($$ select pg_temp.fail(2, 'no') $$, 'WQ001', null, 'a completed record cannot be failed');
select throws_ok($$ select pg_temp.fail(3, 'no') $$, 'WQ001', null, 'a released record cannot be failed');
select throws_ok($$ select pg_temp.fail(5, 'no') $$, 'WQ001', null, 'an orphaned record cannot be failed');

select conveyor.configure_flow('survey', '{"retry_delay": "10 s", "max_retries": 1}');
select pg_temp.fail(6, 'first');

select results_eq(
    'select q.status, q.error_message, q.flow_instance_id from conveyor.processing_queue as q where q.id = 6',
    $$ values ('pending', 'first', null::text) $$,
    'with a retry policy the record is pending, keeps the error and has no holder'
);

select ok(
    q.run_at - a.ended_at >= '10 s' and q.run_at - a.ended_at < '12 s',
    'it is due when the delay is over'
)
from conveyor.processing_queue as q
join conveyor.attempt as a on q.id = a.record_id
where q.id = 6;

update conveyor.processing_queue as q
set run_at = '2019-01-01 00:00+00'
where q.id = 6;
create temporary table again on commit drop as
select c.* from conveyor.claim_records_batch('survey', 1, 'worker-2') as c;

select lives_ok($$ select pg_temp.fail(6, 'first') $$, 'an answer may be repeated when it is claimed again');

select is(
    (select q.flow_instance_id from conveyor.processing_queue as q where q.id = 6), 'worker-2',
    'such a repeat leaves the record to its holder'
);

select conveyor.mark_record_failed(a.id, 'second', a.claim_token) from again as a;

select results_eq(
    'select q.status, q.error_message, q.retry_count from conveyor.processing_queue as q where q.id = 6',
    $$ values ('failed', 'second', 2) $$,
    'after max_retries retries the failure is final'
);

select conveyor.mark_record_failed(c.id, 'bad input', c.claim_token, p_permanent => true)
from conveyor.claim_records_batch('survey', 1) as c;

select results_eq(
    $$ select q.status, q.retry_count from conveyor.processing_queue as q where q.error_message = 'bad input' $$,
    $$ values ('failed', 1) $$,
    'a permanent failure is final at once'
);

-- What is too long to keep is cut; nothing is refused for its length.
insert into conveyor.processing_queue (id, flow_name, payload) values (8, 'long', '{}'), (9, 'long', '{}');

select conveyor.mark_record_failed(
    c.id, repeat('é', 1000000), c.claim_token, repeat('E', 201), jsonb_build_object('x', repeat('x', 65536))
)
from conveyor.claim_records_batch('long', 1) as c;

select results_eq(
    $$
    select
        q.error_message, a.error, a.error_type, a.context ->> 'cut',
        a.context = jsonb_build_object('cut', a.context -> 'cut')
    from conveyor.processing_queue as q
    join conveyor.attempt as a on q.id = a.record_id
    where q.id = 8
    $$,
    $$
    select
        repeat('é', 9960) || '... [cut: 1000000 characters]',
        repeat('é', 9960) || '... [cut: 1000000 characters]',
        repeat('E', 160) || '... [cut: 201 characters]',
        '{"x": "' || repeat('x', 9953) || '... [cut: 65545 characters]',
        true
    $$,
    'an error of over 10,000 characters, a type of over 200 and a context of over 64 kB are cut, and say so'
);

select conveyor.mark_record_failed(
    c.id, repeat('é', 10000), c.claim_token, repeat('E', 200), jsonb_build_object('x', repeat('x', 65519))
)
from conveyor.claim_records_batch('long', 1) as c;

select results_eq(
    $$
    select q.error_message, a.error, a.error_type, pg_column_size(jsonb_build_array(a.context) -> 0)
    from conveyor.processing_queue as q
    join conveyor.attempt as a on q.id = a.record_id
    where q.id = 9
    $$,
    $$ select repeat('é', 10000), repeat('é', 10000), repeat('E', 200), 65536 $$,
    'what is just as long as it may be is kept whole'
);

insert into conveyor.processing_queue (id, flow_name, payload) values (10, 'long', '{}');

select lives_ok(
    $$
    select conveyor.mark_record_failed(c.id, repeat('x', 270000000), c.claim_token)
    from conveyor.claim_records_batch('long', 1) as c
    $$,
    'an error is kept that is longer than a jsonb can be'
);

select * from finish();
rollback;
