"""Retries, circuit breakers and dead letters. The simulation of ``tests/core`` holds most."""

from tests.faults.row import held, open_still

SIMULATED = "core/test_simulation.py::test_no_order_of_events_breaks_the_machine"

FAULTS = [
    held(
        "B1",
        "a type that flaps",
        "a breaker opens by its rules only, and waits each time",
        "core/test_breaker.py::test_type_that_flaps_opens_no_more_often_than_its_rules_allow",
        "core/test_breaker.py::test_success_and_failure_in_turn_open_no_breaker_that_counts_failures_in_a_row",
    ),
    held(
        "B2",
        "many jobs and workers when it half-opens",
        "no more probes than it allows",
        "core/test_machine_breaker.py::test_of_a_thousand_jobs_and_16_workers_one_probe_is_out",
        SIMULATED,
        but="several supervisors, which need a storage that they share",
    ),
    held(
        "B3",
        "a probe that does not come back",
        "its place is free again",
        "core/test_machine_breaker.py::test_a_probe_that_does_not_return_leaves_its_place",
        "core/test_machine_flow.py::test_hung_job_of_the_past_does_not_take_the_place_of_a_probe",
    ),
    held(
        "B4",
        "jobs while it is open",
        "they wait, uncharged and in order; other types go on",
        "core/test_machine_flow.py::test_job_of_an_open_type_goes_back_to_the_storage_uncharged",
        "queue/test_running.py::test_an_open_breaker_holds_its_type_back_and_recovers",
    ),
    held(
        "B5",
        "late results of before",
        "they count for nothing",
        "core/test_breaker.py::test_late_results_of_an_earlier_epoch_count_for_nothing",
    ),
    held(
        "B6",
        "what is not the job's doing",
        "cancels, stops, lost nurseries, storages that are away: never counted",
        "core/test_machine_breaker.py::test_only_what_the_job_did_counts",
    ),
    held(
        "B7",
        "the clock goes back while it is open",
        "it stays open for its wait; a restart closes it",
        "core/test_breaker.py::test_clock_that_goes_back_keeps_an_open_breaker_open_for_its_wait",
    ),
    held(
        "B8",
        "types with like names",
        "a breaker each",
        "core/test_machine_breaker.py::test_types_with_like_names_have_breakers_of_their_own",
    ),
    held(
        "B9",
        "ten thousand fail at once",
        "they come back spread over half of their delay",
        "core/test_retry.py::test_ten_thousand_that_fail_at_once_do_not_come_back_as_a_wave",
    ),
    held(
        "B10",
        "delays that would overflow",
        "capped, never less than nought nor infinite",
        "core/test_retry.py::test_backoff_is_a_minimum_and_adds_up_to_half",
        "core/test_breaker.py::test_waits_never_overflow",
    ),
    held(
        "B11",
        "a budget below what is spent; `retry_on` raises",
        "dead; and tried again, with what it raised in the traceback",
        "core/test_retry.py::test_job_whose_budget_was_lowered_below_what_it_has_spent_is_dead",
        "worker/test_failure.py::test_failing_predicate_counts_as_retryable_and_is_told",
    ),
    held(
        "B12",
        "dead letters tried again: at once, unknown, unreadable",
        "once each, with fresh budgets and the old attempts kept",
        "queue/test_callers.py::test_a_dead_letter_that_many_try_again_at_once_is_tried_once",
        "queue/test_callers.py::test_dead_letters_without_a_processor_or_with_data_of_the_past_die_again",
    ),
    held(
        "B13",
        "a job that kills its worker each time",
        "as many runs as its budget says, then dead: `poison`; others go on",
        "supervisor/test_contract.py::test_crashes_have_a_budget_of_their_own",
        "core/test_retry.py::test_job_runs_once_more_than_its_budget_says",
        "test_figures.py::test_figure_keeps_its_bar",
    ),
    open_still(
        "B14",
        "a job that kills its supervisor each time",
        "needs a durable storage, to be there again",
    ),
]
