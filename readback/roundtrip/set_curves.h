// What only sets of pictures have: the Fréchet distance of all rank-k pictures of T2I2T to the originals.
#pragma once
#include "readback/base/context.h"
#include "readback/roundtrip/store.h"
#include "readback/score/embedder.h"

namespace readback::roundtrip {

// For every distance of T2I2T and every rank k: the pictures in the middle whose reconstruction came k-th nearest, one
// a sample, against the samples' originals. Samples without an original, with a candidate missing or a blanked picture
// stay out. Curves
// that the store has for as many samples are not computed again. `features` gives Inception's vectors of pictures
// (pooled). Errors: DataError, StoreError, Interrupted.
void measure_sets(Store& store, score::EmbeddingCache& features, const Context& context);

}  // namespace readback::roundtrip
