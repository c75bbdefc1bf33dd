// What every fuzz target shares. A target is tests/fuzz/fuzz_<name>.c with LLVMFuzzerTestOneInput;
// libFuzzer drives it, or driver.c with the committed corpus in the normal test run.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); // NOLINT: libFuzzer's name

// One unpacker for the whole run.
struct pqb_unpacker *fuzz_unpacker(void);

// Decodes one frame; what decodes must encode, and decode and encode again to the same bytes.
void fuzz_check_frame(uint8_t code, struct pqb_bytes content);

// Bytes that are allocated at present, by whatever this build knows of the heap.
size_t fuzz_heap_in_use(void);
