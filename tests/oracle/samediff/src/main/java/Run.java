import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.samediff.frameworkimport.onnx.importer.OnnxFrameworkImporter;
import org.nd4j.samediff.frameworkimport.tensorflow.importer.TensorflowFrameworkImporter;

/**
 * For each line "MODEL DIR OUTPUT..." of standard input: import MODEL (.onnx or
 * .pb), feed it DIR/in-NAME.npy, write DIR/out-NAME.npy in double precision,
 * and answer with a line: the number of operators, or "failed" and why.
 */
public class Run {
	private static int run(String model, File dir, List<String> outputs)
			throws Exception {
		Map<String, INDArray> in = new HashMap<>();

		for (File f : dir.listFiles()) {
			String n = f.getName();

			if (n.startsWith("in-") && n.endsWith(".npy"))
				in.put(n.substring(3, n.length() - 4),
					Nd4j.createFromNpyFile(f));
		}
		SameDiff sd = model.endsWith(".pb") ?
			new TensorflowFrameworkImporter().runImport(model, in,
				true) :
			new OnnxFrameworkImporter().runImport(model, in, true);
		Map<String, INDArray> out = sd.output(in, outputs);

		for (String n : outputs)
			Nd4j.writeAsNumpy(
				out.get(n).castTo(DataType.DOUBLE).dup('c'),
				new File(dir, "out-" + n + ".npy"));
		return sd.getOps().size();
	}

	public static void main(String[] args) throws Exception {
		BufferedReader r = new BufferedReader(
			new InputStreamReader(System.in));
		String line;

		while ((line = r.readLine()) != null) {
			String[] w = line.split(" ");

			try {
				System.err.println("@ " + run(w[0], new File(w[1]),
					Arrays.asList(w).subList(2, w.length)));
			} catch (Throwable e) {
				Throwable first = e;

				while (first.getCause() != null)
					first = first.getCause();
				System.err.println("@ failed " + first.toString()
					.replace('\n', ' '));
			}
		}
	}
}
