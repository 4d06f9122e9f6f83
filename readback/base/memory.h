// What becomes of memory that tensors gave up.
#pragma once

namespace readback {

// For a whole program: tensors come and go by the thousand, so their memory is kept instead of being handed back to the
// kernel page by page, which was a third of a training step.
void keep_freed_memory();

// Hands back what lies free, where that is much: before work that takes memory in other sizes and for long, so that the
// two do not add up.
void trim_freed_memory();

}  // namespace readback
