// Programmer-fault assertions. They stay on in release builds: a gateway that has broken an
// invariant must stop before it makes the damage durable; the journal brings it back.
#pragma once

// Aborts with a message that names the expression and the place. Never use it on input, allocation
// or I/O.
#define PQB_ASSERT(expr) ((expr) ? (void)0 : pqb_assert_failed(#expr, __FILE__, __LINE__))

__attribute__((noreturn, cold)) void pqb_assert_failed(const char *expr, const char *file,
                                                       int line);
