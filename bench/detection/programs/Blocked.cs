using System;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;

/// <summary>COUNT work items of the thread pool wait for a task that never ends.</summary>
static class Blocked
{
    static void Main(string[] arguments)
    {
        int count = int.Parse(arguments[0]), seconds = int.Parse(arguments[1]);
        var never = new TaskCompletionSource<bool>();
        Thread.Sleep(3000);
        double now = (double)Stopwatch.GetTimestamp() / Stopwatch.Frequency;
        Console.WriteLine("onset " + now.ToString("F9"));
        for (int number = 0; number < count; number++)
            ThreadPool.QueueUserWorkItem(delegate { never.Task.Wait(); });
        Thread.Sleep(1000 * seconds);
        Environment.Exit(0);
    }
}
