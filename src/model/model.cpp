#include "model/model.h"

#include "base/error.h"
#include "model/v4/v4_model.h"

namespace lethe::model {

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, const ops::Device& device,
                                  const ModelOptions& options) {
  static_cast<void>(options);
  switch (checkpoint.config().family) {
    case ModelFamily::V4:
      return std::make_unique<v4::V4Model>(checkpoint, device);
    case ModelFamily::V41:
      break;
  }
  throw LoadError("{}: this model family is unknown", checkpoint.path());
}

}  // namespace lethe::model
