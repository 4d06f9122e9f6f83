// What becomes of memory that tensors gave up.
#pragma once

namespace readback {

// For a whole program: tensors come and go by the thousand, so their memory is kept instead of being handed back to the
// kernel page by page, which was a third of a training step.
void keep_freed_memory();

}  // namespace readback
