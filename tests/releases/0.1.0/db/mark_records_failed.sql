-- conveyor.mark_records_failed: many failures in one call, each with its own error and its flow's retry policy.
begin;
select plan(26);

insert into conveyor.processing_queue (id, flow_name, payload, retry_count)
values
    (1, 'survey', '{}', 0), (2, 'survey', '{}', 5), (3, 'survey', '{}', 0), (4, 'survey', '{}', 0),
    (11, 'retry', '{}', 0), (12, 'retry', '{}', 1), (13, 'retry', '{}', 2), (14, 'retry', '{}', 3),
    (15, 'retry', '{}', 0), (21, 'endless', '{}', 0), (22, 'endless', '{}', 999), (31, 'slow', '{}', 9),
    (41, 'never', '{}', 0), (51, 'steady', '{}', 7), (52, 'steady', '{}', 0), (61, 'capped', '{}', 40);

select conveyor.configure_flow('retry', '{"retry_delay": "1 minute", "retry_backoff": 3}');
select conveyor.configure_flow('endless', '{"retry_delay": 0, "max_retries": null}');
select conveyor.configure_flow('capped', '{"retry_delay": "1 minute", "max_retries": null}');
select conveyor.configure_flow('slow', '{"retry_delay": "3 days", "max_retries": 99}');
select conveyor.configure_flow('never', '{"retry_delay": "1 minute", "max_retries": 0}');
select conveyor.configure_flow('steady', '{"retry_delay": "1 hour", "retry_backoff": 1, "max_retries": 10}');

create temporary table held on commit drop as
select c.*
from unnest('{survey,retry,endless,slow,never,steady,capped}'::text[]) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 100, 'worker-1') as c;

create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

create function pg_temp.tokens(p_ids bigint[]) returns bigint[] language sql as $$
select array_agg(h.claim_token order by i.position)
from unnest(p_ids) with ordinality as i (id, position)
left join held as h using (id);
$$;

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_failed(
        p_ids    => '{3,2,12}',
        p_errors => '[
            {"error": "three", "error_type": "KeyError", "context": {"line": 3}},
            {"error": "two", "error_type": null, "context": null, "permanent": null},
            {"error": "twelve", "context": [1], "permanent": false}
        ]',
        p_tokens => pg_temp.tokens('{3,2,12}')
    ) as r
    $$,
    $$ values (3::bigint, 'done'), (2, 'done'), (12, 'done') $$,
    'records of several claims and flows are failed, and the outcomes come in the order of the call'
);

select results_eq(
    $$
    select q.id, q.status, q.failure_kind, q.error_message, q.retry_count, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id in (2, 3, 12)
    order by q.id
    $$,
    $$
    values
        (2::bigint, 'failed', 'error', 'two', 6, null::timestamptz),
        (3, 'failed', 'error', 'three', 1, null),
        (12, 'pending', null, 'twelve', 2, null)
    $$,
    'each record gets its own error, and becomes what the policy of its flow says'
);

select results_eq(
    $$
    select a.record_id, a.outcome, a.error, a.error_type, a.context
    from conveyor.attempt as a
    order by a.record_id
    $$,
    $$
    values
        (2::bigint, 'failed', 'two', null, null::jsonb), (3, 'failed', 'three', 'KeyError', '{"line": 3}'),
        (12, 'failed', 'twelve', null, '[1]')
    $$,
    'each is an attempt with its error, type and context'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id not in (2, 3, 12) order by q.id',
    'select c.* from claimed as c where c.id not in (2, 3, 12) order by c.id',
    'records that are not in the call stay as they are'
);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q where q.id in (3, 12);

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_failed(
        '{3,12,1,-1,4}',
        '[{"error": "new"}, {"error": "new"}, {"error": "one"}, {"error": "x"}, {"error": "x"}]',
        pg_temp.tokens('{3,12,1,1,11}')
    ) as r
    $$,
    $$ values (3::bigint, 'repeated'), (12, 'repeated'), (1, 'done'), (-1, 'lost'), (4, 'lost') $$,
    'repeated and lost answers are outcomes, and their neighbours are done'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id in (3, 12) order by q.id',
    'select k.* from kept as k order by k.id',
    'a repeat changes nothing, for a record that is pending again as well'
);

select results_eq(
    'select q.status, q.error_message from conveyor.processing_queue as q where q.id in (1, 4) order by q.id',
    $$ values ('failed', 'one'), ('processing', null) $$,
    'what is done stays done beside a lost answer, which changes nothing'
);

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_failed('{4,4}', '[{"error": "a"}, {"error": "b"}]', pg_temp.tokens('{4,4}')) as r
    $$,
    $$ values (4::bigint, 'done'), (4, 'repeated') $$,
    'an id that comes twice in one call is done once and repeated once'
);

select is(q.error_message || q.retry_count, 'a1', 'of an id that comes twice, the first error is stored and charged')
from conveyor.processing_queue as q
where q.id = 4;

select is((select count(*) from conveyor.attempt), 5::bigint, 'each answer that was done is one attempt');

-- What is still held has one record for each case of the retry policy.
select conveyor.mark_records_failed(
    array_agg(q.id), jsonb_agg(jsonb_build_object('error', 'x', 'permanent', q.id = 15)), array_agg(q.claim_token)
)
from conveyor.processing_queue as q
where q.status = 'processing';

create temporary table wait on commit drop as
select
    q.*,
    q.run_at - a.ended_at as waits
from conveyor.processing_queue as q
join conveyor.attempt as a on q.id = a.record_id;

select results_eq(
    $$ select w.id, w.retry_count from wait as w where w.id > 10 and w.status = 'failed' order by w.id $$,
    'values (14::bigint, 4), (15, 1), (41, 1)',
    'the fourth failure is final by default, a permanent one always, and the first with max_retries 0'
);

select ok(
    bool_and(w.waits / 3 ^ (w.id - 11) >= '1 minute' and w.waits / 3 ^ (w.id - 11) <= '1.1 minutes'),
    'each wait is retry_backoff times the one before'
)
from wait as w
where w.id in (11, 12, 13);

select results_eq(
    $$ select w.status, w.waits from wait as w where w.flow_name = 'endless' $$,
    $$ values ('pending', interval '0'), ('pending', '0') $$,
    'without max_retries there is always a next time, and a delay of zero is none'
);

select ok(
    bool_and(w.waits >= v.wait and w.waits <= v.wait * 1.1),
    'waits grow up to a day, unless the delay is longer, and not at all with a back-off of 1; jitter adds up to a tenth'
)
from wait as w, (
    values (31, interval '3 days'), (51, interval '1 hour'), (52, interval '1 hour'), (61, interval '1 day')
) as v (id, wait)
where w.id = v.id;

select ok(
    bool_and(num_nonnulls(w.flow_instance_id, w.claimed_at, w.claim_token, w.lease_expires_at, w.failure_kind) = 0),
    'a record that will be tried again has no holder and is not failed'
)
from wait as w
where w.status = 'pending';

select is_empty($$ select from conveyor.mark_records_failed('{}', '[]', '{}') $$, 'an empty call does nothing');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.mark_records_failed(null, '[]', '{}') $$, 'p_ids is null'),
    ($$ select conveyor.mark_records_failed('{}', null, '{}') $$, 'p_errors is null'),
    ($$ select conveyor.mark_records_failed('{1}', '[{"error": ""}]', '{1,2}') $$, 'p_tokens is ''{1,2}'''),
    ($$ select conveyor.mark_records_failed('{1}', '[]', '{1}') $$, 'the number of p_errors is ''0'''),
    ($$ select conveyor.mark_records_failed('{1}', '["no"]', '{1}') $$, 'p_errors[0] is ''"no"''')
) as v (call, message);

select throws_like(
    format($$ select conveyor.mark_records_failed('{1,2}', '[{"error": ""}, %s]', '{1,1}') $$, v.error),
    'p_errors[1] is %', 'a bad error is refused by its position: ' || v.error
)
from (
    values ('{}'), ('{"error": null}'), ('{"error": "", "error_type": 1}'), ('{"error": "", "permanent": "no"}')
) as v (error);

insert into conveyor.processing_queue (id, flow_name, payload) values (71, 'long', '{}'), (72, 'long', '{}');

select conveyor.mark_records_failed(
    array_agg(c.id order by c.id),
    jsonb_build_array(
        jsonb_build_object(
            'error', repeat('x', 10001), 'error_type', repeat('E', 201),
            'context', (select jsonb_agg(n) from generate_series(1, 10000) as g (n))
        ),
        '{"error": "short", "context": {"cut": "x"}}'::jsonb
    ),
    array_agg(c.claim_token order by c.id)
)
from conveyor.claim_records_batch('long', 2) as c;

select results_eq(
    $$
    select q.error_message, a.error, a.error_type, a.context
    from conveyor.processing_queue as q
    join conveyor.attempt as a on q.id = a.record_id
    where q.id in (71, 72)
    order by q.id
    $$,
    $$
    values
        (
            repeat('x', 9960) || '... [cut: 10001 characters]', repeat('x', 9960) || '... [cut: 10001 characters]',
            repeat('E', 160) || '... [cut: 201 characters]',
            (
                select jsonb_build_object('cut', left(jsonb_agg(n)::text, 9960) || '... [cut: 58894 characters]')
                from generate_series(1, 10000) as g (n)
            )
        ),
        ('short', 'short', null, '{"cut": "x"}')
    $$,
    'errors, types and contexts that are too long to keep are cut, each for itself'
);

select * from finish();
rollback;
