namespace Fude.Cli.Tests;

public sealed class ChatCommandTests
{
    [Fact]
    public void A_file_below_the_home_folder_is_there_and_not_in_a_folder_called_by_a_tilde()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        Assert.Equal(Path.Join(home, "talks/talk.jsonl"), ChatCommand.AtHome("~/talks/talk.jsonl"));
        foreach (string file in (string[])["talk~.jsonl", "~talk.jsonl", "a/~/talk.jsonl", ""]) Assert.Equal(file, ChatCommand.AtHome(file));
    }
}
