// The small world, which needs no files.
#include "readback/data/emoji_scenes.h"

#include <fmt/format.h>

#include "readback/data/digest.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/selection.h"

namespace readback::data {

namespace {

class EmojiScenes : public Dataset {
 public:
  explicit EmojiScenes(const DatasetOptions& options)
      : split_(parse_split(options.split)),
        seed_(options.seed),
        image_size_(options.image_size),
        selection_(split_size(split_), options) {
    render(scene(0), image_size_);  // a wrong size or a missing atlas shows here
  }

  int64_t size() const override { return selection_.size(); }
  Sample sample(int64_t index) const override {
    const std::string id = fmt::format("{}-{:05}", split_name(split_), selection_[index]);
    return {id, id + ".png", captions(scene(index)), to_json(scene(index))};
  }
  image::Image load_image(int64_t index) const override { return render(scene(index), image_size_); }
  std::string description() const override {
    return fmt::format("emoji-scenes, {} split, {}", split_name(split_), selection_.count_of("scenes"));
  }
  std::string digest() const override {
    return digest_of(*this, fmt::format("emoji-scenes {} {} {}", split_name(split_), seed_, image_size_));
  }

 private:
  Scene scene(int64_t index) const { return make_scene(split_, selection_[index], seed_); }

  Split split_;
  uint64_t seed_;
  int64_t image_size_;
  Selection selection_;
};

}  // namespace

std::unique_ptr<Dataset> open_emoji_scenes(const Opening& opening) {
  return std::make_unique<EmojiScenes>(opening.options);
}

}  // namespace readback::data
