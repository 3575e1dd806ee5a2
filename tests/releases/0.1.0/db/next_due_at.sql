-- conveyor.next_due_at: how long a claimer that found nothing may sleep.
begin;
select plan(20);

select is(conveyor.next_due_at('survey'), null, 'nothing is due in a flow that nobody knows');

select conveyor.add_record('invoice', '{}');
insert into conveyor.processing_queue (flow_name, payload, status)
values ('survey', '{}', 'completed'), ('survey', '{}', 'failed'), ('survey', '{}', 'processing');

select is(
    conveyor.next_due_at('survey'), null,
    'only pending records of the flow itself are due'
);

select conveyor.add_record('survey', '{"n": 1}', p_run_at => '2100-01-03 00:00+00');

select is(
    conveyor.next_due_at(p_flow_name => 'survey'), '2100-01-03 00:00+00',
    'a delayed record is due at its run_at, exactly'
);

insert into conveyor.processing_queue (flow_name, payload, created_at)
values ('survey', '{"n": 2}', '2100-01-02 00:00+00');

select is(
    conveyor.next_due_at('survey'), '2100-01-02 00:00+00',
    'a record of the future is due at its created_at'
);

select conveyor.add_record('survey', '{"n": 3}', 9::smallint, '2100-01-04 00:00+00');

select is(
    conveyor.next_due_at('survey'), '2100-01-02 00:00+00',
    'a high priority that is due later does not hide what is due sooner'
);

select conveyor.add_record('survey', '{"n": 4}', 8::smallint, '2100-01-01 00:00+00');

select is(
    conveyor.next_due_at('survey'), '2100-01-01 00:00+00',
    'what is due first counts, whatever its priority'
);

select conveyor.add_record('survey', '{"n": 5}', -9::smallint);

select ok(
    conveyor.next_due_at('survey') <= clock_timestamp(),
    'a record that is ready is due at once, also below delayed ones of higher priority'
);

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 10, p_lease => '1 minute') as c;

select is(
    conveyor.next_due_at('survey'), '2100-01-01 00:00+00',
    'what is claimed is not due, nor is the end of its lease'
);

select conveyor.release_records(array_agg(h.id), array_agg(h.claim_token)) from held as h;

select ok(conveyor.next_due_at('survey') <= clock_timestamp(), 'a record that was released is due at once');

select conveyor.configure_flow('retry', '{"retry_delay": "1 hour"}');
select conveyor.add_record('retry', '{}');
select conveyor.mark_record_failed(c.id, 'no', c.claim_token)
from conveyor.claim_records_batch('retry', 1) as c;

select is(
    conveyor.next_due_at('retry'),
    (select q.run_at from conveyor.processing_queue as q where q.flow_name = 'retry'),
    'a failed record that will be tried again is due when its wait ends'
);

select conveyor.pause_flow('retry');
select is(conveyor.next_due_at('retry'), 'infinity', 'nothing is ever due in a flow that is paused');

select conveyor.resume_flow('retry');

select is(
    conveyor.next_due_at('retry'),
    (select q.run_at from conveyor.processing_queue as q where q.flow_name = 'retry'),
    'once it is resumed, it is due as before'
);

-- A claim that has to skip much makes a floor for its session: 700 dead entries come before the record it takes.
select conveyor.add_records_to_queue('busy', (select jsonb_agg('{}'::jsonb) from generate_series(1, 700)));
update conveyor.processing_queue as q
set created_at = '2020-01-01 00:00+00'
where q.flow_name = 'busy';
update conveyor.processing_queue as q
set status = 'completed'
where q.flow_name = 'busy';
insert into conveyor.processing_queue (flow_name, payload, created_at, run_at)
values
    ('busy', '{"n": 1}', '2020-01-02 00:00+00', null), ('busy', '{"n": 2}', '2020-01-02 00:00+00', null),
    ('busy', '{"n": 3}', '2020-01-01 00:00+00', '2100-01-01 00:00+00');

-- Claims until it gets something, for 5 s at most: what sorts before a floor is passed over for so long.
create function pg_temp.claim() returns jsonb language plpgsql as $$
declare
    v_payload jsonb;
begin
    for i in 1..100 loop
        select c.payload into v_payload from conveyor.claim_records_batch('busy', 1) as c;
        exit when found;
        perform pg_sleep(0.05);
    end loop;
    return v_payload;
end;
$$;

select is(pg_temp.claim(), '{"n": 1}', 'dead entries do not hide what is ready');
select is(pg_temp.claim(), '{"n": 2}', 'a floor does not hide what comes after it');

select ok(
    conveyor.next_due_at('busy') <= clock_timestamp() + interval '5 s',
    'in a session with a floor a claimer looks again within 5 s, though nothing is due that it can see'
);

insert into conveyor.processing_queue (flow_name, payload, priority, created_at)
values ('busy', '{"n": 4}', 0, '2019-01-01 00:00+00'), ('busy', '{"n": 5}', 9, '2020-01-01 00:00+00');

select is(
    array[pg_temp.claim(), pg_temp.claim()]::text[], '{"{\"n\": 5}","{\"n\": 4}"}',
    'what sorts before the floor, by time or by priority, is claimed within 5 s'
);

select conveyor.add_record('busy', '{"n": 6}', 9::smallint);
select pg_temp.claim();

select is(
    conveyor.next_due_at('busy'), '2100-01-01 00:00+00',
    'a claim that had to skip little takes the floor away'
);

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ('select conveyor.next_due_at(null)', 'p_flow_name is null'),
    ($$ select conveyor.next_due_at('') $$, 'p_flow_name is ''''')
) as v (call, message);

select throws_like(
    $$ select conveyor.next_due_at(repeat('x', 101)) $$,
    'p_flow_name is ''xxx%',
    'a flow name that no record can have is refused by name'
);

select * from finish();
rollback;
