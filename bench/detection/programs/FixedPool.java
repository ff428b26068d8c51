import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** A pool of THREADS, all started at once, that works for SECONDS. */
final class FixedPool {
    public static void main(String[] arguments) throws InterruptedException {
        int threads = Integer.parseInt(arguments[0]);
        ThreadPoolExecutor pool =
                new ThreadPoolExecutor(
                        threads, threads, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>());
        pool.prestartAllCoreThreads();
        long end = System.currentTimeMillis() + 1000 * Long.parseLong(arguments[1]);
        while (System.currentTimeMillis() < end) {
            for (int task = 0; task < threads; task++) {
                pool.execute(() -> Math.sqrt(System.nanoTime()));
            }
            Thread.sleep(100);
        }
        pool.shutdownNow();
    }
}
