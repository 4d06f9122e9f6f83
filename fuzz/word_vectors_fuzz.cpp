// Any bytes as word vectors in GloVe's text format.
#include <cstdint>
#include <cstdlib>

#include "memory_file.h"
#include "readback/base/error.h"
#include "readback/score/text/word_vectors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  try {
    const readback::score::WordVectors vectors(file.path());
    if (vectors.size() == 0 || vectors.width() == 0) std::abort();
  } catch (const readback::CheckpointError&) {
  }
  return 0;
}
