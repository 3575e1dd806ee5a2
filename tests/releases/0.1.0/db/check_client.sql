-- conveyor.check_client: refuses clients that do not know a breaking migration.
begin;
select plan(7);

create temporary table known on commit drop as
select array_agg(m.name) as names from conveyor.migration as m;

select lives_ok('select conveyor.check_client(k.names) from known as k', 'who knows every migration may work');
select lives_ok($$ select conveyor.check_client('{}') $$, 'migrations that only add need not be known');

insert into conveyor.migration (name) values ('9998_adds');
select lives_ok('select conveyor.check_client(k.names) from known as k', 'nor one of a newer version');

insert into conveyor.migration (name, breaking) values ('9999_breaks', true);
select throws_ok(
    'select conveyor.check_client(k.names) from known as k', 'WQ901',
    'this version of pgconveyor is too old for the database: it does not know 9999_breaks',
    'a breaking one has to be known'
);
select throws_ok(
    $$ select conveyor.check_client(array[null, '9998_adds']) $$, 'WQ901', null, 'a null does not make it known'
);
select lives_ok($$ select conveyor.check_client('{9999_breaks}') $$, 'who knows it may work');

select throws_ok(
    'select conveyor.check_client(null)', '22023', 'p_migrations is null', 'a bad argument is refused by name'
);

select * from finish();
rollback;
