"""What protects the traces of messages, and messages from what stands in their traces. See `table`."""

from tests.protections.protection import Edit, Protection

OF_TRACES = (
    Protection(
        "each message's events have its own trace",
        "a shop sees its order through to the notification",
        (
            Edit(
                "core/posting/writing.py",
                "        return self._context._replace(trace=report.trace)\n",
                "        self._context = self._context._replace(trace=report.trace)\n        return self._context\n",
            ),
        ),
        ("tests/posting/test_traces.py::test_all_that_an_order_causes_has_its_trace_and_nothing_of_another",),
    ),
    Protection(
        "a trace is read as anything",
        "nothing in a trace stops a message",
        (
            Edit(
                "core/messages/inbound/fields.py",
                "Traceparent = Annotated[\n    Any,\n",
                "Traceparent = Annotated[\n    str,\n",
            ),
        ),
        (
            "tests/messages/test_trace_context.py::test_a_traceparent_is_kept_as_the_version_that_is_known_or_not_at_all",
        ),
    ),
    Protection(
        "of an error a span has its kind alone",
        "nothing of a customer reaches a span",
        (
            Edit(
                "workers/tracing.py",
                '            span.set_attribute("error.type", type(error).__name__)\n',
                '            span.set_attribute("error.type", type(error).__name__)\n'
                "            span.record_exception(error)\n",
            ),
        ),
        ("tests/workers/test_spans.py::test_an_error_is_told_by_its_kind_alone",),
    ),
    Protection(
        "what senders tell tracing systems is erased in all that came of it",
        "nothing that is kept names an erased customer",
        (
            Edit(
                "core/store/erasing_messages.py",
                "    _forget_trace_states(work.connection, inbox_ids)\n",
                "",
            ),
        ),
        (
            "tests/posting/test_traces.py::test_what_tracing_systems_say_to_themselves_goes_with_a_customer_who_is_erased",
        ),
    ),
)
