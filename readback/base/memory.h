// What becomes of memory that tensors gave up.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>

namespace readback {

// For a whole program: tensors come and go by the thousand, so their memory is kept instead of being handed back to the
// kernel page by page, which was a third of a training step.
void keep_freed_memory();

// Hands it back once, on the device too: after a large model has gone.
void return_freed_memory(c10::Device device);

// Bytes that this process may still take of the device's memory; on a CPU within what its container allows it.
int64_t free_memory(c10::Device device);

}  // namespace readback
