export const REACTIONS: readonly string[] = ['👏', '🎉', '💡', '❤️'];
