import java.io.FileInputStream;
import java.util.zip.GZIPInputStream;

/** Decompresses a file to standard output. */
class Gunzip {
    public static void main(String[] arguments) throws Exception {
        try (var content = new GZIPInputStream(new FileInputStream(arguments[0]))) {
            content.transferTo(System.out);
        }
        System.out.flush();
    }
}
