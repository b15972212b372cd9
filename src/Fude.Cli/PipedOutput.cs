using System.Runtime.InteropServices;

namespace Fude.Cli;

/// <summary>Standard output where it is no screen. .NET passes over in silence that nobody reads it any more, as when `head` has enough, and the work would
/// go on for nobody: here that is an error.</summary>
/// <param name="stream">.NET's own.</param>
internal sealed partial class PipedOutput(Stream stream) : Stream
{
    private const int StandardOutput = 1;

    private bool _isGone;

    /// <summary>Whether the system tells. On others what is written is lost in silence.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux() || OperatingSystem.IsMacOS();

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Writes, if there is somebody to read it.</summary>
    /// <exception cref="IOException">There is nobody.</exception>
    public override void Write(byte[] buffer, int offset, int count)
    {
        _isGone |= HasNoReader();
        Flush();
        stream.Write(buffer, offset, count);
    }

    /// <summary>Nothing is kept back; but what was lost stays an error.</summary>
    /// <exception cref="IOException">Something was written that nobody read.</exception>
    public override void Flush()
    {
        if (_isGone)
            throw new IOException(Language.Say("Nobody reads standard output any more.", "標準出力の読み手がいなくなりました。"));
        stream.Flush();
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    // Asked for no event, poll tells only of a descriptor that it is of no use: the other end of a pipe is closed.
    private static unsafe bool HasNoReader()
    {
        int* descriptor = stackalloc int[2] { StandardOutput, 0 };      // int fd; short events, revents
        return Poll(descriptor, 1, 0) > 0;
    }

    [LibraryImport("libc", EntryPoint = "poll")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static unsafe partial int Poll(int* descriptors, nuint count, int milliseconds);
}
