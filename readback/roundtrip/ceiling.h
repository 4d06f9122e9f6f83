// The ceiling of picture → words → picture: each picture drawn anew from its own embedding, without words. What is lost
// there is the generator's doing alone; what a round trip loses beyond it is the words'.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "readback/base/context.h"
#include "readback/generate/generator.h"
#include "readback/roundtrip/store.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

// Draws every original that the run has and that was not drawn anew yet, with the noise of candidate 0. `generator`:
// one with Capabilities::variations. Failures are recorded at stage "ceiling". Errors: DataError when more than
// max_errors samples failed, Interrupted, StoreError, and the generator's.
void draw_ceilings(Store& store, generate::Generator& generator, const generate::GenerationOptions& options,
                   int64_t batch_size, int64_t max_errors, const Context& context);

// Every distance of pictures, and what knows the truth of them, between the originals and what was drawn anew of them,
// where there is no value yet. Errors: as measure()'s.
void measure_ceilings(Store& store, std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context);

}  // namespace readback::roundtrip
