"""For each name that the contract has, the test that proves it: a table, held complete and true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from contract import BLOCKS, parameters, settings

HERE = Path(__file__).parent

CORE, FLOW, SCHEMA, SETTINGS = (f"contract/test_{name}.py" for name in ("core", "flow", "schema", "settings"))

# Functions with their parameters and defaults, and the examples: signature, then what it does.
FUNCTIONS = {
    "DistributedProcessor": [f"{CORE}::test_create", "test_bad_input.py"],
    "claim_records_batch": [f"{CORE}::test_add_then_claim", "test_claims.py"],
    "mark_record_completed": [f"{CORE}::test_complete", "test_fencing.py"],
    "mark_record_failed": [f"{CORE}::test_fail", "test_processor.py::test_failure_keeps_the_message_and_counts"],
    "add_records_to_queue": [f"{CORE}::test_add_then_claim", "test_bad_records.py"],
    "get_queue_status": [f"{CORE}::test_status", "test_counts.py"],
    "cleanup_orphaned_records": [f"{CORE}::test_clean_up", "test_recovery.py"],
    "reset_failed_records": [f"{CORE}::test_reset", "../db/reset_failed_records.sql"],
    "health_check": [f"{CORE}::test_health", f"{CORE}::test_health_never_raises"],
    "distributed_processing_flow": [f"{FLOW}::test_signature_and_decorator_are_the_contracts"],
    "process_record_with_status": [f"{FLOW}::test_signature_and_decorator_are_the_contracts"],
    "ConfigManager": [f"{CORE}::test_variables", "test_config.py"],
    "get_variable": [f"{CORE}::test_variables", "test_config_values.py"],
    "get_secret": [f"{CORE}::test_secrets", "test_prefect_values.py"],
    "distributed_queue_monitoring": [f"{CORE}::test_monitor", "test_monitoring.py"],
    "distributed_processing_diagnostics": [f"{CORE}::test_diagnose", "test_monitoring_horizon.py"],
    "processing_performance_monitoring": [f"{CORE}::test_performance", "test_monitoring_performance.py"],
}

# What is promised of them in words.
PROMISES = {
    "claims are atomic, with SKIP LOCKED": "test_claims.py::test_an_open_claim_is_passed_over_not_waited_for",
    "claims are first in, first out": "test_claims.py::test_a_batch_is_in_order_priority_first_then_due_time_then_id",
    "none ready: an empty list": "test_claims.py::test_an_empty_queue_hands_out_nothing_and_other_flows_are_left_alone",
    "a claim has its flow_instance_id": "test_processor.py::test_a_claim_is_a_dict_that_can_travel",
    "a completion sets completed_at and stores the result in payload": f"{CORE}::test_complete",
    "a failure stores the message and counts": "test_processor.py::test_failure_keeps_the_message_and_counts",
    "clean-up resets, clears the owner and counts": f"{CORE}::test_clean_up",
    "reset keeps to the limit": f"{CORE}::test_reset",
    "one failed record does not stop the batch": "test_flow_records.py::"
    "test_each_record_is_answered_and_one_failure_is_its_own",
    "retries are counted in the database": "test_recovery.py::test_a_flow_with_a_retry_policy_tries_so_many_times",
    "hierarchy of settings": f"{SETTINGS}::test_the_most_specific_name_wins",
    "ValueError: configuration and parameters": "test_bad_input.py",
    "ConnectionError: connectivity": "test_database.py::"
    "test_what_cannot_be_reached_is_a_connection_error_without_the_password",
    "RuntimeError: refusals and health": f"{CORE}::test_they_are_of_the_contracts_types",
}

# What its troubleshooting section has, and its migration notes.
SITUATIONS = {
    "no records claimed": "test_troubleshooting.py::test_a_record_says_why_it_waits",
    "high error rates": "test_troubleshooting.py::test_they_are_grouped_shown_and_brought_back",
    "orphaned records": "test_troubleshooting.py::test_cleanup_takes_back_what_has_been_silent",
    "performance issues": "test_troubleshooting.py::test_it_is_seen_that_nobody_works",
    "from standard to distributed": "test_migrating.py::test_each_step_runs_as_written",
    "both modes": "test_rollout.py::test_one_handler_does_both_parts",
    "gradual roll-out": "test_rollout.py::test_a_higher_percentage_only_moves_keys_to_the_queue",
    "fall-back": "test_rollout.py::test_by_choice_all_is_done_here_once_with_one_warning",
}

FORMATS = {
    "format of status": f"{CORE}::test_status",
    "format of health": f"{CORE}::test_health",
    "format of an error": f"{FLOW}::test_an_error_has_the_contracts_format",
}

TABLE = {
    "table": [f"{SCHEMA}::test_each_column_is_there_with_its_type_or_a_wider_one"],
    "defaults": [f"{SCHEMA}::test_the_defaults_are_the_same"],
    "accepted values": [f"{SCHEMA}::test_what_it_takes_ours_takes_and_what_it_refuses_ours_refuses"],
    "indexes": [f"{SCHEMA}::test_each_of_its_indexes_has_one_that_answers_the_same"],
    "rows": [f"{SCHEMA}::test_its_rows_are_taken_over", "test_adopt.py"],
}

VARIABLES = {
    "DEVELOPMENT_GLOBAL_RPA_DB_TYPE": f"{SETTINGS}::test_databases",
    "DEVELOPMENT_GLOBAL_RPA_DB_CONNECTION_STRING": f"{SETTINGS}::test_a_processor_begins_with_them",
    "DEVELOPMENT_GLOBAL_SURVEYHUB_TYPE": f"{SETTINGS}::test_databases",
    "DEVELOPMENT_GLOBAL_SURVEYHUB_CONNECTION_STRING": f"{SETTINGS}::test_databases",
    "DEVELOPMENT_DISTRIBUTED_PROCESSOR_DEFAULT_BATCH_SIZE": f"{SETTINGS}::test_processing",
    "DEVELOPMENT_RPA1_DISTRIBUTED_BATCH_SIZE": f"{SETTINGS}::test_processing",
    "DEVELOPMENT_DISTRIBUTED_PROCESSOR_CLEANUP_TIMEOUT_HOURS": f"{SETTINGS}::test_processing",
    "DEVELOPMENT_DISTRIBUTED_PROCESSOR_MAX_RETRIES": f"{SETTINGS}::test_processing",
    "DEVELOPMENT_RPA1_USE_DISTRIBUTED_PROCESSING": f"{SETTINGS}::test_processing",
    "DEVELOPMENT_RPA2_USE_DISTRIBUTED_PROCESSING": f"{SETTINGS}::test_processing",
}

# What an example is run by; of the rest the name of the block says it.
EXAMPLES = {
    "create": f"{CORE}::test_create",
    "claim": f"{CORE}::test_add_then_claim",
    "complete": f"{CORE}::test_complete",
    "fail": f"{CORE}::test_fail",
    "add": f"{CORE}::test_add_then_claim",
    "status": f"{CORE}::test_status",
    "clean up": f"{CORE}::test_clean_up",
    "reset": f"{CORE}::test_reset",
    "health": f"{CORE}::test_health",
    "run the flow": "flows/test_flow.py",
    "map": "flows/test_flow.py",
    "variables": f"{CORE}::test_variables",
    "secrets": f"{CORE}::test_secrets",
    "monitor": f"{CORE}::test_monitor",
    "diagnose": f"{CORE}::test_diagnose",
    "performance": f"{CORE}::test_performance",
}


def proofs() -> Iterator[str]:
    for table in (FUNCTIONS, PROMISES, SITUATIONS, FORMATS, TABLE, VARIABLES, EXAMPLES):
        for found in table.values():
            yield from [found] if isinstance(found, str) else found


def test_each_name_of_the_contract_is_in_the_table() -> None:
    signatures = {name for name in BLOCKS if name.startswith("signature of ")}
    of_classes = {owner or function for function, owner, _ in map(parameters, signatures)}
    assert of_classes == FUNCTIONS.keys()
    assert {name for name in BLOCKS if name.startswith("format of ")} == FORMATS.keys()
    assert settings("databases").keys() | settings("processing").keys() == VARIABLES.keys()
    others = {"table", "indexes", "databases", "processing"}
    assert BLOCKS.keys() - signatures - FORMATS.keys() - others == EXAMPLES.keys()


def test_each_example_is_run_where_the_table_says() -> None:
    for name, proof in EXAMPLES.items():
        text = (HERE.parent / proof.partition("::")[0]).read_text()
        assert re.search(rf'(run\(|BLOCKS\[)"{name}"', text), f"{name} is not run in {proof}"


def test_each_proof_exists() -> None:
    for proof in proofs():
        file, _, test = proof.partition("::")
        path = HERE.parent / file
        assert path.is_file(), proof
        if test:
            functions = [
                node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
            ]
            assert test in functions, proof
