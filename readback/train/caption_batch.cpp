#include "readback/train/caption_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <string_view>

#include "readback/text/unicode.h"

namespace readback::train {

CaptionBatch caption_batch(const caption::TokenCaptioner& captioner, std::span<const std::string> captions,
                           std::span<const PictureSize> sizes, c10::Device device) {
  constexpr int64_t kLongest = 36;
  std::vector<caption::Written> written;
  for (size_t i = 0; i < captions.size(); ++i) {
    written.push_back(captioner.write(captions[i], sizes[i].width, sizes[i].height));
    std::vector<int64_t>& ids = written.back().reading.ids;
    const int64_t most = std::min(written.back().known + kLongest, captioner.about().max_positions);
    if (std::ssize(ids) <= most) continue;
    ids[static_cast<size_t>(most) - 1] = ids.back();
    ids.resize(static_cast<size_t>(most));
  }
  return caption_batch(written, device);
}

CaptionBatch caption_batch(std::span<const caption::Written> written, c10::Device device) {
  CaptionBatch batch{caption::texts_of(written)};
  batch.texts.ids = batch.texts.ids.to(device);
  const int64_t columns = batch.texts.ids.size(1) - std::ranges::min(batch.texts.known) + 1;
  at::Tensor labels = at::full({std::ssize(written), columns}, -100, at::kLong);
  for (size_t row = 0; row < written.size(); ++row) {
    const std::vector<int64_t>& ids = written[row].reading.ids;
    std::copy(ids.begin() + written[row].known, ids.end(), labels[static_cast<int64_t>(row)].data_ptr<int64_t>() + 1);
  }
  batch.labels = labels.to(device);
  return batch;
}

caption::Pictures one_each(const at::Tensor& patches) {
  caption::Pictures pictures{patches.split(1), std::vector<int64_t>(static_cast<size_t>(patches.size(0)))};
  std::iota(pictures.rows.begin(), pictures.rows.end(), 0);
  return pictures;
}

caption::Pictures repeated(const caption::Pictures& pictures, int64_t count) {
  caption::Pictures result{pictures.sets, {}};
  for (const int64_t row : pictures.rows) result.rows.insert(result.rows.end(), static_cast<size_t>(count), row);
  return result;
}

at::Tensor caption_loss(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing) {
  const at::Tensor predicted = logits.slice(1, 0, -1).flatten(0, 1).to(at::kFloat);  // [S · L, V]
  return at::cross_entropy_loss(predicted, labels.slice(1, 1).flatten(), {}, at::Reduction::Mean, -100,
                                label_smoothing);
}

std::string prepare_caption(const std::string& caption) {
  constexpr size_t kWords = 30;
  constexpr std::string_view kDropped = ".!\"()*#:;~";
  std::string text = text::encode_utf8(text::lower(text::decode_utf8(caption)));
  std::replace_if(
      text.begin(), text.end(), [&](char c) { return kDropped.find(c) != std::string_view::npos; }, ' ');
  std::istringstream words(text);
  std::string prepared, word;
  for (size_t count = 0; count < kWords && words >> word; ++count) {
    if (count > 0) prepared += ' ';
    prepared += word;
  }
  return prepared;
}

}  // namespace readback::train
