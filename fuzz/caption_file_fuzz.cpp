// Any bytes as a file of captions, and as document frequencies.
#include <cstdint>
#include <cstdlib>

#include "memory_file.h"
#include "readback/base/error.h"
#include "readback/data/caption_file.h"
#include "readback/score/text/document_frequencies.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  try {
    const readback::data::CaptionFile captions = readback::data::read_caption_file(file.path());
    if (captions.ids.empty() || captions.ids.size() != captions.captions.size()) std::abort();
    for (const auto& list : captions.captions) {
      if (list.empty()) std::abort();
    }
    readback::data::match_captions({"first", captions.ids, {captions.ids.size(), {"a"}}}, captions, false);
  } catch (const readback::DataError&) {
  }
  try {
    readback::score::DocumentFrequencies::load(file.path());
  } catch (const readback::DataError&) {
  }
  return 0;
}
