namespace Fude.Models.Tests;

/// <summary>Errors and what their messages must name.</summary>
internal static class Fails
{
    /// <summary>Asserts that something throws exactly this exception, with a message that names all of these.</summary>
    public static void With<T>(Action act, params string[] named) where T : Exception
    {
        string message = Assert.Throws<T>(act).Message;
        foreach (string name in named) Assert.Contains(name, message, StringComparison.Ordinal);
    }
}
