"""What test_opencv.py runs for every model, as OpenCV may crash: it imports the
ONNX file, feeds it the .npy and writes the .npy of the output; or it says why
not, and ends with 3. Arguments: MODEL INPUT FEED OUTPUT RESULT."""
import sys

import cv2
import numpy as np


def main(path, name, feed, output, result):
    try:
        net = cv2.dnn.readNetFromONNX(path)
        net.setInput(np.load(feed), name)
        np.save(result, net.forward(output))
    except cv2.error as e:
        print(" ".join(str(e).split()))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
